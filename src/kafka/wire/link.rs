//! A connection to one broker that ends at a deadline, whatever the broker does.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use openssl::pkey::PKey;
use openssl::ssl::{self, HandshakeError, SslConnector, SslMethod, SslStream, SslVerifyMode};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509VerifyResult};

use super::{Told, odd};
use crate::kafka::settings::{KafkaSettings, Security};

/// Longer answers are none of Kafka's: a TLS alert looks like one of 350 MB.
const LONGEST: u32 = 64 * 1024 * 1024;

pub(super) enum Link {
    Plain(Timed),
    Tls(Box<SslStream<Timed>>),
}

impl Link {
    pub(super) fn open(settings: &KafkaSettings, host: &str, port: u16, until: Instant) -> Told<Self> {
        let stream = Timed { stream: connect(host, port, until)?, until };
        let Some(security) = settings.security.as_ref().filter(|security| security.protocol.ends_with("SSL")) else {
            return Ok(Self::Plain(stream));
        };
        let says = |name: &str, word: &str| {
            settings.properties.get(name).is_some_and(|value| value.trim().eq_ignore_ascii_case(word))
        };
        let trusting = says("enable.ssl.certificate.verification", "false");
        let connector = connector(security, trusting).map_err(|what| format!("{what} cannot be used"))?;
        let mut connect = connector.configure().map_err(|_| odd())?;
        connect.set_verify_hostname(!says("ssl.endpoint.identification.algorithm", "none"));
        match connect.connect(host, stream) {
            Ok(stream) => Ok(Self::Tls(Box::new(stream))),
            Err(error) => Err(refused(&error)),
        }
    }

    pub(super) fn exchange(&mut self, request: &[u8]) -> Told<Vec<u8>> {
        match self {
            Self::Plain(stream) => exchange(stream, request),
            Self::Tls(stream) => exchange(stream.as_mut(), request),
        }
    }
}

fn exchange(stream: &mut (impl Read + Write), request: &[u8]) -> Told<Vec<u8>> {
    let mut frame = u32::try_from(request.len()).map_err(|_| odd())?.to_be_bytes().to_vec();
    frame.extend(request);
    stream.write_all(&frame).and_then(|()| stream.flush()).map_err(|error| silent(&error))?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).map_err(|error| silent(&error))?;
    let length = u32::from_be_bytes(length);
    if length > LONGEST {
        return Err(odd());
    }
    let mut answer = Vec::new();
    // Room is made for what comes, not for what is announced.
    stream.take(u64::from(length)).read_to_end(&mut answer).map_err(|error| silent(&error))?;
    if answer.len() as u64 == u64::from(length) { Ok(answer) } else { Err(ENDED.to_owned()) }
}

const ENDED: &str = "it closed the connection";

fn silent(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "it does not answer in time".to_owned(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => ENDED.to_owned(),
        _ => match error.get_ref().and_then(|inner| inner.downcast_ref::<ssl::Error>()) {
            Some(error) => broken(error),
            None => format!("it does not answer: {error}"),
        },
    }
}

/// OpenSSL's own words, without the lines of its source.
fn broken(error: &ssl::Error) -> String {
    let reason = error.ssl_error().and_then(|stack| stack.errors().first()?.reason());
    format!("TLS ends: {}", reason.unwrap_or("no reason is told"))
}

fn connect(host: &str, port: u16, until: Instant) -> Told<TcpStream> {
    let host = host.trim_matches(['[', ']']);
    let addresses =
        (host, port).to_socket_addrs().map_err(|error| format!("its name '{host}' is not found: {error}"))?;
    let mut refused = format!("its name '{host}' has no address");
    for address in addresses {
        match left(until).and_then(|left| TcpStream::connect_timeout(&address, left)) {
            Ok(stream) => return Ok(stream),
            Err(error) => refused = silent(&error),
        }
    }
    Err(refused)
}

/// The name of what cannot be used is the error.
fn connector(security: &Security, trusting: bool) -> std::result::Result<SslConnector, &'static str> {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(|_| "TLS")?;
    if let Some(file) = &security.ca_file {
        let trusted = || -> Option<_> {
            let mut store = X509StoreBuilder::new().ok()?;
            for certificate in X509::stack_from_pem(&std::fs::read(file).ok()?).ok()? {
                store.add_cert(certificate).ok()?;
            }
            Some(store.build())
        };
        builder.set_cert_store(trusted().ok_or("`ca_file`")?);
    }
    if let Some(file) = &security.certificate_file {
        builder.set_certificate_chain_file(file).map_err(|_| "`certificate_file`")?;
    }
    if let Some(file) = &security.key_file {
        // Without a password here the terminal would be asked for one.
        let password = security.key_password.as_ref().map_or("", |secret| secret.text());
        let text = std::fs::read(file).map_err(|_| "`key_file`")?;
        let key = PKey::private_key_from_pem_passphrase(&text, password.as_bytes());
        key.and_then(|key| builder.set_private_key(&key)).map_err(|_| "`key_file`")?;
    }
    if trusting {
        builder.set_verify(SslVerifyMode::NONE);
    }
    Ok(builder.build())
}

fn refused(error: &HandshakeError<Timed>) -> String {
    let HandshakeError::Failure(failed) = error else {
        return "TLS cannot be begun".to_owned();
    };
    let verified = failed.ssl().verify_result();
    if verified != X509VerifyResult::OK {
        return format!("its certificate is refused: {}", verified.error_string());
    }
    failed.error().io_error().map_or_else(|| broken(failed.error()), silent)
}

/// Every read and write ends at the deadline.
pub(super) struct Timed {
    stream: TcpStream,
    until: Instant,
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// To OpenSSL "would block" means to go on.
fn over(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

impl Read for Timed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(left(self.until)?))?;
        self.stream.read(into).map_err(over)
    }
}

impl Write for Timed {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(left(self.until)?))?;
        self.stream.write(from).map_err(over)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
