//! A replication connection: login and TLS as every other, then messages with a time limit for each wait.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use bytes::BytesMut;
use openssl::ssl::SslStream;
use postgres::fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{ErrorFields, Message};
use postgres_protocol::message::frontend;

use super::super::server::Login;
use crate::base::{Error, Kind, Result};
use crate::config::SslMode;

/// How long the server may take for each step of a login.
const LOGIN: Duration = Duration::from_secs(10);

/// Texts come as those that replay reads do.
const FORMS: [(&str, &str); 8] = [
    ("client_encoding", "UTF8"),
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO, YMD"),
    ("IntervalStyle", "iso_8601"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("xmlbinary", "base64"),
    ("xmloption", "content"),
];

enum Socket {
    Plain(TcpStream),
    Tls(Box<SslStream<TcpStream>>),
}

impl Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(into),
            Self::Tls(stream) => stream.read(into),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes),
        }
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref(),
        }
    }
}

/// A connection to the server's log.
pub(super) struct Wire {
    socket: Socket,
    store: String,
    waits: Duration,
    input: BytesMut,
    chunk: Vec<u8>,
}

/// What came in copy mode.
pub(super) enum Came {
    Data(bytes::Bytes),
    Nothing,
}

impl Wire {
    /// Logs in for logical replication, under this name.
    pub(super) fn open(login: &Login, name: &str) -> Result<Self> {
        let store = login.describe();
        let unreachable = |error: io::Error| {
            Error::connect(format!("{store}: the server cannot be reached, opening its log"))
                .hint("check that it runs, and host, port and sslmode of the URL")
                .because(error)
        };
        let mut last = io::Error::new(ErrorKind::NotFound, "the host has no address");
        let mut tcp = None;
        for address in (login.place.host.as_str(), login.place.port).to_socket_addrs().map_err(unreachable)? {
            match TcpStream::connect_timeout(&address, LOGIN) {
                Ok(stream) => {
                    tcp = Some(stream);
                    break;
                }
                Err(error) => last = error,
            }
        }
        let tcp = tcp.ok_or(last).map_err(unreachable)?;
        let ready = tcp.set_nodelay(true).and_then(|()| tcp.set_read_timeout(Some(LOGIN)));
        ready.and_then(|()| tcp.set_write_timeout(Some(LOGIN))).map_err(unreachable)?;
        let socket = secure(login, &store, tcp).map_err(|error| error.unwrap_or_else(unreachable))?;
        let mut wire = Self { socket, store, waits: LOGIN, input: BytesMut::new(), chunk: vec![0; 1 << 16] };
        let mut settings = vec![
            ("user", login.place.user.as_str()),
            ("database", login.place.database.as_str()),
            ("replication", "database"),
            ("application_name", name),
        ];
        settings.extend(FORMS);
        wire.send(|out| frontend::startup_message(settings, out))?;
        wire.authenticate(login)?;
        Ok(wire)
    }

    fn send(&mut self, write: impl FnOnce(&mut BytesMut) -> io::Result<()>) -> Result<()> {
        let mut out = BytesMut::new();
        write(&mut out).and_then(|()| self.socket.write_all(&out)).map_err(|error| self.lost(error))
    }

    fn lost(&self, error: io::Error) -> Error {
        Error::connect(format!("{}: the server ended the connection, reading its log", self.store))
            .hint("run the command again once the server is back: it goes on from what was committed")
            .because(error)
    }

    fn authenticate(&mut self, login: &Login) -> Result<()> {
        let store = self.store.clone();
        let needed = || {
            let password = login.password.as_deref();
            password.ok_or_else(|| {
                Error::connect(format!("{store}: the server asks for a password, and none was given"))
                    .hint("give it by legacy.password_file or CROSSFADE_LEGACY_PASSWORD")
            })
        };
        let mut scram: Option<ScramSha256> = None;
        loop {
            let message = self.message()?;
            let refused = |error: io::Error| {
                Error::connect(format!("{store}: the login was refused, opening its log")).because(error)
            };
            match message {
                Message::AuthenticationOk | Message::BackendKeyData(_) => {}
                Message::AuthenticationCleartextPassword => {
                    let password = needed()?.as_bytes().to_vec();
                    self.send(|out| frontend::password_message(&password, out))?;
                }
                Message::AuthenticationMd5Password(body) => {
                    let hash = md5_hash(login.place.user.as_bytes(), needed()?.as_bytes(), body.salt());
                    self.send(|out| frontend::password_message(hash.as_bytes(), out))?;
                }
                Message::AuthenticationSasl(body) => {
                    let known = body.mechanisms().any(|name| Ok(name == SCRAM_SHA_256)).map_err(refused)?;
                    if !known {
                        return Err(Error::connect(format!(
                            "{store}: the server asks for a login this tool cannot do"
                        ))
                        .hint("let the role log in by scram-sha-256 (pg_hba.conf)"));
                    }
                    let begun = ScramSha256::new(needed()?.as_bytes(), ChannelBinding::unsupported());
                    self.send(|out| frontend::sasl_initial_response(SCRAM_SHA_256, begun.message(), out))?;
                    scram = Some(begun);
                }
                Message::AuthenticationSaslContinue(body) => {
                    let begun = scram.as_mut().ok_or_else(|| self.odd())?;
                    begun.update(body.data()).map_err(refused)?;
                    let answer = begun.message().to_vec();
                    self.send(|out| frontend::sasl_response(&answer, out))?;
                }
                Message::AuthenticationSaslFinal(body) => {
                    let begun = scram.as_mut().ok_or_else(|| self.odd())?;
                    begun.finish(body.data()).map_err(refused)?;
                }
                Message::ReadyForQuery(_) => return Ok(()),
                _ => return Err(self.odd()),
            }
        }
    }

    fn odd(&self) -> Error {
        Error::connect(format!("{}: the server answered with something else than its protocol has", self.store))
    }

    /// Begins to stream by a command, which is answered by copy mode.
    pub(super) fn stream(&mut self, command: &str) -> Result<()> {
        self.send(|out| frontend::query(command, out))?;
        loop {
            let Some((tag, _)) = self.frame(LOGIN)? else { return Err(self.odd()) };
            match tag {
                b'W' => return Ok(()),
                b'N' | b'S' => {}
                _ => return Err(self.odd()),
            }
        }
    }

    /// The next message in copy mode, if one comes within `wait`.
    pub(super) fn next(&mut self, wait: Duration) -> Result<Came> {
        loop {
            match self.frame(wait)? {
                None => return Ok(Came::Nothing),
                Some((b'd', body)) => return Ok(Came::Data(body)),
                Some((b'N' | b'S', _)) => {}
                Some((b'c' | b'C', _)) => return Err(self.lost(ErrorKind::UnexpectedEof.into())),
                Some(_) => return Err(self.odd()),
            }
        }
    }

    pub(super) fn answer(&mut self, data: &[u8]) -> Result<()> {
        self.send(|out| {
            frontend::CopyData::new(data)?.write(out);
            Ok(())
        })
    }

    fn message(&mut self) -> Result<Message> {
        loop {
            match Message::parse(&mut self.input) {
                Ok(Some(Message::ErrorResponse(body))) => return Err(self.told(&mut body.fields())),
                Ok(Some(Message::NoticeResponse(_) | Message::ParameterStatus(_))) => {}
                Ok(Some(message)) => return Ok(message),
                Ok(None) => {
                    if !self.fill(LOGIN)? {
                        return Err(self.lost(ErrorKind::TimedOut.into()));
                    }
                }
                Err(error) => return Err(self.lost(error)),
            }
        }
    }

    /// One message by its tag; those of copy mode are none that the client library knows.
    fn frame(&mut self, wait: Duration) -> Result<Option<(u8, bytes::Bytes)>> {
        loop {
            if self.input.len() >= 5 {
                let length = u32::from_be_bytes([self.input[1], self.input[2], self.input[3], self.input[4]]) as usize;
                if length < 4 {
                    return Err(self.odd());
                }
                if self.input.len() > length {
                    if self.input[0] == b'E' {
                        self.message()?;
                    }
                    let mut frame = self.input.split_to(length + 1);
                    let body = frame.split_off(5).freeze();
                    return Ok(Some((frame[0], body)));
                }
            }
            if !self.fill(wait)? {
                return Ok(None);
            }
        }
    }

    /// Whether anything came in time.
    fn fill(&mut self, wait: Duration) -> Result<bool> {
        let wait = wait.max(Duration::from_millis(1));
        if wait != self.waits {
            self.socket.tcp().set_read_timeout(Some(wait)).map_err(|error| self.lost(error))?;
            self.waits = wait;
        }
        loop {
            match self.socket.read(&mut self.chunk) {
                Ok(0) => return Err(self.lost(ErrorKind::UnexpectedEof.into())),
                Ok(count) => {
                    self.input.extend_from_slice(&self.chunk[..count]);
                    return Ok(true);
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.lost(error)),
            }
        }
    }

    /// The server's own words, by what may be done about them.
    fn told(&self, fields: &mut ErrorFields<'_>) -> Error {
        let (mut code, mut message) = (String::new(), String::new());
        while let Ok(Some(field)) = fields.next() {
            match field.type_() {
                b'C' => code = String::from_utf8_lossy(field.value_bytes()).into_owned(),
                b'M' => message = String::from_utf8_lossy(field.value_bytes()).into_owned(),
                _ => {}
            }
        }
        let (kind, hint) = match code.as_str() {
            "28P01" | "28000" => {
                (Kind::Connect, "check user and password, and that pg_hba.conf lets the role in for replication")
            }
            "42501" => (Kind::Refused, "ALTER ROLE … REPLICATION, or: crossfade follow --install --mode outbox"),
            "53300" => (Kind::Refused, "raise max_wal_senders or max_connections, or end another replication"),
            "55006" => (Kind::Fenced, "see who reads it: SELECT * FROM pg_replication_slots"),
            "42704" | "55000" => {
                (Kind::Refused, "make it anew: crossfade follow --install; the next follow reconciles first")
            }
            code if code.starts_with("57P") || code.starts_with("08") => {
                (Kind::Connect, "run the command again once the server is back: it goes on from what was committed")
            }
            _ => (Kind::Failed, "see the server's log"),
        };
        Error::new(kind, format!("{}: {message} ({code}), reading its log", self.store)).hint(hint)
    }
}

/// TLS as sslmode has it; the error is ours, or one of the network.
fn secure(
    login: &Login,
    store: &str,
    mut tcp: TcpStream,
) -> std::result::Result<Socket, std::result::Result<Error, io::Error>> {
    if login.place.ssl == SslMode::Disable {
        return Ok(Socket::Plain(tcp));
    }
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    let mut answer = [0];
    tcp.write_all(&request).and_then(|()| tcp.read_exact(&mut answer)).map_err(Err)?;
    if answer[0] != b'S' {
        if login.place.ssl == SslMode::Prefer {
            return Ok(Socket::Plain(tcp));
        }
        return Err(Ok(Error::connect(format!("{store}: TLS could not be agreed on: the server has none"))
            .hint("switch it on there (ssl = on), or see sslmode of the URL")));
    }
    let mut connector = login
        .connector()
        .map_err(Ok)?
        .configure()
        .map_err(|error| Ok(Error::failed("TLS cannot be set up").because(error)))?;
    connector.set_verify_hostname(login.place.ssl == SslMode::VerifyFull);
    let stream = connector.connect(&login.place.host, tcp).map_err(|error| {
        Ok(Error::connect(format!("{store}: TLS could not be agreed on, opening its log"))
            .hint("see sslmode and sslrootcert of the URL: the certificate must be one they trust")
            .because(error.to_string()))
    })?;
    Ok(Socket::Tls(Box::new(stream)))
}
