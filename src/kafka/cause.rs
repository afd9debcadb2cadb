//! Why brokers turn a client away: told by the client library's log lines only, so read from their text.

use super::settings::{KafkaSettings, Security};
use super::tls::{self, Certificate, Seen};
use crate::base::Error;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// User or password; brokers do not tell which.
    Credentials,
    /// The mechanisms the brokers offer.
    Mechanism(String),
    /// A log-in where the listener has none.
    NoLogIn,
    LogInWanted,
    BrokerCertificate,
    /// The alert, in TLS's words.
    ClientCertificate(String),
    /// A TLS client at a listener that seems to have none.
    NoTls,
    /// A plain client at a listener that seems to have TLS.
    TlsWanted,
}

const OFFERED: &str = "broker's supported mechanisms:";

impl Cause {
    /// Of a line as the client library writes it.
    pub(super) fn of(text: &str) -> Option<Self> {
        let has = |part: &str| text.contains(part);
        if has("Request not valid in current SASL state") {
            Some(Self::NoLogIn)
        } else if has("Unsupported SASL mechanism") {
            let (_, offered) = text.split_once(OFFERED).unwrap_or_default();
            let offered = offered.split(" (after").next().unwrap_or_default();
            Some(Self::Mechanism(offered.trim().replace(',', ", ")))
        } else if has("SASL authentication error") || has("Authentication failed") {
            Some(Self::Credentials)
        } else if has("certificate verify failed") || has("Failed to verify broker certificate") {
            Some(Self::BrokerCertificate)
        } else if let Some((_, alert)) = text.split_once("alert ").filter(|_| has("SSL alert number")) {
            Some(Self::ClientCertificate(alert.split(':').next().unwrap_or_default().to_owned()))
        } else if has("connecting to a PLAINTEXT broker listener?") || has("wrong version number") {
            Some(Self::NoTls)
        } else if !["Disconnected", "Broken pipe", "Connection reset"].into_iter().any(has) {
            None
        } else if has("in state APIVERSION_QUERY") && !text.contains("ssl://") {
            Some(Self::TlsWanted)
        } else if young(text) && !text.starts_with("sasl_") {
            Some(Self::LogInWanted)
        } else {
            None
        }
    }

    /// Whether it is read from nothing but the end of a connection.
    pub(super) fn is_guess(&self) -> bool {
        matches!(self, Self::NoTls | Self::TlsWanted | Self::LogInWanted)
    }

    /// The error, with what a look at the listener adds; none where the look does not bear the cause out.
    pub(super) fn explain(&self, settings: &KafkaSettings, text: &str) -> Option<Error> {
        let none = Security { protocol: "PLAINTEXT".to_owned(), ..Security::default() };
        let security = settings.security.as_ref().unwrap_or(&none);
        let address = address(text).unwrap_or_else(|| settings.brokers());
        let look = || tls::look(&address, security.ca_file.as_deref());
        let protocol = &security.protocol;
        let at = format!("Kafka at {address}");
        let (message, because, hint) = match self {
            Self::Credentials => (
                format!("{at} refused the log-in of '{}'", security.username.as_deref().unwrap_or_default()),
                "no such user, or a wrong password; brokers do not tell which".to_owned(),
                "check `username` and `password_file` (or CROSSFADE_LOG_KAFKA_PASSWORD), and that the user was made for \
                 this `mechanism`"
                    .to_owned(),
            ),
            Self::Mechanism(offered) => (
                format!("{at} does not take the mechanism {}", security.mechanism.as_deref().unwrap_or_default()),
                format!("it takes {offered}"),
                "set `mechanism` to one of these".to_owned(),
            ),
            Self::NoLogIn => (
                format!("{at} has no log-in on this listener"),
                format!("protocol {protocol} logs in"),
                format!("set `protocol` to {}, or name the listener with log-in in `bootstrap`", protocol.trim_start_matches("SASL_")),
            ),
            Self::LogInWanted => {
                // A listener that is gone has closed the connection for another reason.
                if look() == Seen::Nothing {
                    return None;
                }
                let log_in = if protocol == "SSL" { "SASL_SSL" } else { "SASL_PLAINTEXT" };
                (
                    format!("{at} turns away who does not log in"),
                    format!("protocol {protocol} does not log in"),
                    format!("set `protocol` to {log_in}, with `mechanism`, `username` and `password_file`"),
                )
            }
            Self::BrokerCertificate => {
                let Seen::Tls(certificate) = look() else { return None };
                refused_certificate(certificate, &at, &address, security)?
            }
            Self::ClientCertificate(alert) => refused_client(alert, &at, security),
            Self::NoTls => {
                if look() != Seen::Plain {
                    return None;
                }
                let plain = if protocol.starts_with("SASL") { "SASL_PLAINTEXT" } else { "PLAINTEXT" };
                (
                    format!("{at} does not speak TLS on this listener"),
                    format!("protocol {protocol} is TLS"),
                    format!("set `protocol` to {plain}, or name the TLS listener in `bootstrap`"),
                )
            }
            Self::TlsWanted => {
                let Seen::Tls(_) = look() else { return None };
                let encrypted = if protocol.starts_with("SASL") { "SASL_SSL" } else { "SSL (or SASL_SSL)" };
                (
                    format!("{at} speaks only TLS on this listener"),
                    format!("protocol {protocol} is not TLS"),
                    format!("set `protocol` to {encrypted}, with `ca_file`"),
                )
            }
        };
        Some(Error::connect(message).because(because).hint(hint))
    }
}

/// Whether the connection was closed as soon as it could be used.
fn young(text: &str) -> bool {
    let after = text.split_once("(after ").and_then(|(_, rest)| rest.split_once("ms in state UP"));
    after.and_then(|(ms, _)| ms.parse::<u32>().ok()).is_some_and(|ms| ms < 2_000)
}

type Words = (String, String, String);

fn refused_certificate(certificate: Certificate, at: &str, address: &str, security: &Security) -> Option<Words> {
    Some(match certificate {
        // It is good by now.
        Certificate::Good => return None,
        Certificate::Expired(until) => (
            format!("the certificate of {at} has expired"),
            format!("it was valid until {until}"),
            "the brokers need a new one: nothing on this side mends it".to_owned(),
        ),
        Certificate::Misnamed(names) => (
            format!("the certificate of {at} is for another name"),
            format!("it is for {}", if names.is_empty() { "no name".to_owned() } else { names.join(", ") }),
            format!(
                "name the broker in `bootstrap` as its certificate does, or give it one for {}",
                address.rsplit_once(':').map_or(address, |(host, _)| host)
            ),
        ),
        Certificate::Untrusted(words) => (
            format!("the certificate of {at} is not from an authority that is trusted here"),
            words,
            match &security.ca_file {
                Some(file) => format!("{} is not the authority that signed it: correct `ca_file`", file.display()),
                None => "set `ca_file` to the authority that signed it".to_owned(),
            },
        ),
    })
}

fn refused_client(alert: &str, at: &str, security: &Security) -> Words {
    let Some(file) = &security.certificate_file else {
        return (
            format!("{at} asks for a client certificate"),
            "none is set".to_owned(),
            "set `certificate_file` and `key_file`".to_owned(),
        );
    };
    match tls::expired(file) {
        Some(until) => (
            format!("the client certificate {} has expired", file.display()),
            format!("it was valid until {until}"),
            "get a new one and set `certificate_file` and `key_file` to it".to_owned(),
        ),
        None => (
            format!("{at} refused the client certificate {}", file.display()),
            alert.to_owned(),
            "get one from an authority the brokers trust, and set `certificate_file` and `key_file` to it".to_owned(),
        ),
    }
}

/// The broker a line is about: `[PROTOCOL://]HOST:PORT/ID: …`.
fn address(text: &str) -> Option<String> {
    let place = text.split_once(": ").map_or(text, |(place, _)| place);
    let place = place.split_once("://").map_or(place, |(_, place)| place);
    let (broker, _) = place.split_once('/')?;
    let (_, port) = broker.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    Some(broker.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_read_from_the_lines_of_the_client_library() {
        let offered = |words: &str| Some(Cause::Mechanism(words.to_owned()));
        let alert = |words: &str| Some(Cause::ClientCertificate(words.to_owned()));
        let cases = [
            (
                "sasl_ssl://127.0.0.1:1/bootstrap: SASL authentication error: Authentication failed during authentication \
                 due to invalid credentials with SASL mechanism SCRAM-SHA-512 (after 305ms in state AUTH_REQ)",
                Some(Cause::Credentials),
            ),
            (
                "sasl_ssl://127.0.0.1:1/bootstrap: SASL authentication error: Authentication failed: Invalid username or \
                 password (after 305ms in state AUTH_REQ)",
                Some(Cause::Credentials),
            ),
            (
                "sasl_plaintext://127.0.0.1:1/bootstrap: SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL \
                 mechanism: broker's supported mechanisms: SCRAM-SHA-512,SCRAM-SHA-256 (after 302ms in state \
                 AUTH_HANDSHAKE)",
                offered("SCRAM-SHA-512, SCRAM-SHA-256"),
            ),
            (
                "sasl_plaintext://127.0.0.1:1/bootstrap: SASL SCRAM-SHA-512 mechanism handshake failed: Broker: Request \
                 not valid in current SASL state: broker's supported mechanisms:  (after 0ms in state AUTH_HANDSHAKE)",
                Some(Cause::NoLogIn),
            ),
            ("ssl://127.0.0.1:1/bootstrap: Disconnected (after 0ms in state UP)", Some(Cause::LogInWanted)),
            ("127.0.0.1:1/bootstrap: Send failed: Broken pipe (after 0ms in state UP)", Some(Cause::LogInWanted)),
            ("sasl_ssl://127.0.0.1:1/1: Disconnected (after 0ms in state UP)", None),
            (
                "sasl_ssl://127.0.0.1:1/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify \
                 failed: broker certificate could not be verified, verify that ssl.ca.location is correctly configured",
                Some(Cause::BrokerCertificate),
            ),
            (
                "ssl://127.0.0.1:1/bootstrap: Receive failed: error:0A000412:SSL routines::sslv3 alert bad certificate: \
                 SSL alert number 42 (after 1ms in state APIVERSION_QUERY)",
                alert("bad certificate"),
            ),
            (
                "ssl://127.0.0.1:1/bootstrap: Receive failed: error:0A000416:SSL routines::sslv3 alert certificate \
                 unknown: SSL alert number 46 (after 1ms in state APIVERSION_QUERY)",
                alert("certificate unknown"),
            ),
            (
                "ssl://127.0.0.1:1/bootstrap: SSL handshake failed: Disconnected: SSL connection closed by peer: \
                 connecting to a PLAINTEXT broker listener? (after 1ms in state SSL_HANDSHAKE)",
                Some(Cause::NoTls),
            ),
            ("127.0.0.1:1/bootstrap: Disconnected (after 2ms in state APIVERSION_QUERY)", Some(Cause::TlsWanted)),
            ("ssl://127.0.0.1:1/bootstrap: Disconnected (after 2ms in state APIVERSION_QUERY)", None),
            ("127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused", None),
            ("127.0.0.1:1/1: Disconnected (after 4012ms in state UP)", None),
        ];
        for (text, cause) in cases {
            assert_eq!(Cause::of(text), cause, "{text}");
            assert_eq!(address(text).as_deref(), Some("127.0.0.1:1"), "{text}");
        }
        assert_eq!(address("ssl://[::1]:9093/2: gone").as_deref(), Some("[::1]:9093"));
        assert_eq!(address("2/2 brokers are down"), None);
    }
}
