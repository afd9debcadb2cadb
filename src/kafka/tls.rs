//! Looks at a broker's certificate, since the client library says only that it is refused.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use openssl::asn1::Asn1TimeRef;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use openssl::x509::{X509, X509Ref, X509VerifyResult};

const PATIENCE: Duration = Duration::from_secs(1);

/// What a listener shows to one who offers TLS.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// No connection, or no more time.
    Nothing,
    /// It does not speak TLS.
    Plain,
    Tls(Certificate),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Certificate {
    Good,
    /// The day and hour it was valid until.
    Expired(String),
    /// The names it is for.
    Misnamed(Vec<String>),
    /// OpenSSL's words.
    Untrusted(String),
}

/// `address` is `host:port`; without `ca` the system's authorities are asked.
pub(super) fn look(address: &str, ca: Option<&Path>) -> Seen {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    let Some(stream) = connect(address) else { return Seen::Nothing };
    let Some(ssl) = connector(ca) else { return Seen::Nothing };
    match ssl.connect(host, stream) {
        Ok(stream) => {
            let ssl = stream.ssl();
            Seen::Tls(match ssl.peer_certificate() {
                Some(certificate) => judged(&certificate, ssl.verify_result()),
                None => Certificate::Untrusted("no certificate is shown".to_owned()),
            })
        }
        Err(_) => Seen::Plain,
    }
}

/// The day and hour a certificate in a PEM file was valid until, if that has passed.
pub(super) fn expired(file: &Path) -> Option<String> {
    let certificate = X509::from_pem(&std::fs::read(file).ok()?).ok()?;
    let now = openssl::asn1::Asn1Time::days_from_now(0).ok()?;
    (certificate.not_after() < now).then(|| time(certificate.not_after()))
}

fn connect(address: &str) -> Option<TcpStream> {
    let stream = address.to_socket_addrs().ok()?.find_map(|at| TcpStream::connect_timeout(&at, PATIENCE).ok())?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    Some(stream)
}

/// One that goes on after a refused certificate, so that it can be looked at; nothing is ever sent through it.
fn connector(ca: Option<&Path>) -> Option<SslConnector> {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).ok()?;
    if let Some(ca) = ca {
        builder.set_ca_file(ca).ok()?;
    }
    builder.set_verify(SslVerifyMode::NONE);
    Some(builder.build())
}

fn judged(certificate: &X509Ref, result: X509VerifyResult) -> Certificate {
    let words = result.error_string();
    if result == X509VerifyResult::OK {
        Certificate::Good
    } else if words.contains("expired") {
        Certificate::Expired(time(certificate.not_after()))
    } else if words.contains("mismatch") {
        let names = certificate.subject_alt_names();
        let name = |name: &openssl::x509::GeneralNameRef| match (name.dnsname(), name.ipaddress()) {
            (Some(name), _) => Some(name.to_owned()),
            (None, Some(bytes)) => address(bytes),
            (None, None) => None,
        };
        Certificate::Misnamed(names.iter().flatten().filter_map(name).collect())
    } else {
        Certificate::Untrusted(words.to_owned())
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    match bytes.len() {
        4 => Some(std::net::Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).to_string()),
        16 => Some(std::net::Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string()),
        _ => None,
    }
}

fn time(at: &Asn1TimeRef) -> String {
    at.to_string()
}
