//! The disks of all brokers, each asked by itself since none knows of the others'.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::settings::KafkaSettings;
use super::wire;
use crate::plan::{Disk, Seen};

/// For one broker: to connect, log in and answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Looking up a name has no deadline of its own; one that takes longer is left behind.
const GRACE: Duration = Duration::from_secs(1);

pub(super) struct Address {
    pub(super) id: i32,
    pub(super) host: String,
    pub(super) port: i32,
}

/// Hidden when one broker does not tell: half of the disks would look like all of them.
pub(super) fn disks(settings: &KafkaSettings, brokers: Vec<Address>) -> Seen<Vec<Disk>> {
    let until = Instant::now() + PATIENCE;
    let mut open: Vec<i32> = brokers.iter().map(|broker| broker.id).collect();
    let (tell, told) = mpsc::channel();
    for broker in brokers {
        let (settings, tell) = (settings.clone(), tell.clone());
        let asked = thread::Builder::new().name("disks".to_owned()).spawn(move || {
            let port = u16::try_from(broker.port).unwrap_or_default();
            let _ = tell.send((broker.id, wire::disks(&settings, broker.id, &broker.host, port, until)));
        });
        if let Err(error) = asked {
            return Seen::Hidden(format!("no thread to ask with: {error}"));
        }
    }
    let mut found = Vec::new();
    while !open.is_empty() {
        let left = (until + GRACE).saturating_duration_since(Instant::now());
        let Ok((id, disks)) = told.recv_timeout(left) else {
            return Seen::Hidden(format!("broker {}: it does not answer in time", open[0]));
        };
        open.retain(|other| *other != id);
        match disks {
            Ok(disks) => found.extend(disks),
            Err(why) => return Seen::Hidden(format!("broker {id}: {why}")),
        }
    }
    found.sort_by(|one, other| (one.broker, &one.path).cmp(&(other.broker, &other.path)));
    Seen::Known(found)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{Ipv4Addr, TcpListener};
    use std::path::PathBuf;

    use super::*;
    use crate::kafka::settings::{Secret, Security};

    fn here(port: u16) -> Vec<Address> {
        vec![Address { id: 1, host: "127.0.0.1".to_owned(), port: i32::from(port) }]
    }

    #[track_caller]
    fn hidden(seen: Seen<Vec<Disk>>) -> String {
        let Seen::Hidden(why) = seen else { panic!("{seen:?}") };
        why
    }

    #[test]
    fn whoever_does_not_answer_as_kafka_does_hides_the_disks_in_time() {
        let settings = KafkaSettings::default();
        let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        assert!(hidden(disks(&settings, here(gone))).contains("broker 1: it does not answer: Connection refused"));
        for (says, expected) in [
            (&b""[..], "it closed the connection"),
            (b"HTTP/1.1 400 Bad Request", "the answer is not one of Kafka's"),
            (&[0, 0, 0, 4, 0, 0, 0, 9], "the answer is not one of Kafka's"),
            (&[0, 0, 1, 0, 0, 0, 0, 1], "it closed the connection"),
        ] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            let other = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                std::io::copy(&mut std::io::Read::take(&mut stream, 23), &mut std::io::sink()).unwrap();
                stream.write_all(says).unwrap();
            });
            assert!(hidden(disks(&settings, here(port))).ends_with(expected), "{says:?}");
            other.join().unwrap();
        }
        // It drips, and every byte would start the patience of a mere read anew.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let other = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(&[0, 1, 0, 0]).unwrap();
            while stream.write_all(&[0]).is_ok() {
                thread::sleep(Duration::from_millis(300));
            }
        });
        let started = Instant::now();
        let why = hidden(disks(&settings, here(port)));
        assert!(why.ends_with("it does not answer in time"), "{why}");
        assert!((PATIENCE..PATIENCE + GRACE).contains(&started.elapsed()), "{:?}", started.elapsed());
        other.join().unwrap();
    }

    fn folder() -> PathBuf {
        PathBuf::from(std::env::var_os("CROSSFADE_TEST_SECURE").expect("CROSSFADE_TEST_SECURE names no cluster"))
    }

    fn asked(listener: &str, security: Security) -> Seen<Vec<Disk>> {
        let brokers = std::env::var(format!("CROSSFADE_TEST_SECURE_{listener}")).unwrap();
        let settings = KafkaSettings { security: Some(security), ..KafkaSettings::default() };
        let addresses = (1..).zip(brokers.split(',')).map(|(id, broker)| {
            let (host, port) = broker.rsplit_once(':').unwrap();
            Address { id, host: host.to_owned(), port: port.parse().unwrap() }
        });
        disks(&settings, addresses.collect())
    }

    fn password(user: &str) -> String {
        std::fs::read_to_string(folder().join("passwords").join(user)).unwrap().trim_end().to_owned()
    }

    fn user(protocol: &str, mechanism: &str, name: &str, password: &str) -> Security {
        Security {
            protocol: protocol.to_owned(),
            mechanism: Some(mechanism.to_owned()),
            username: Some(name.to_owned()),
            password: Some(Secret::new(password)),
            ca_file: Some(folder().join("certificates/ca.pem")),
            ..Security::default()
        }
    }

    fn shows(name: &str, key: &str, key_password: Option<&str>) -> Security {
        let file = |name: &str| Some(folder().join("certificates").join(name));
        Security {
            protocol: "SSL".to_owned(),
            ca_file: file("ca.pem"),
            certificate_file: file(&format!("{name}.pem")),
            key_file: file(key),
            key_password: key_password.map(Secret::new),
            ..Security::default()
        }
    }

    #[test]
    #[ignore = "needs secure Kafka"]
    fn every_way_in_tells_the_same_disks() {
        let own = password("admin");
        let locked = std::fs::read_to_string(folder().join("certificates/admin-locked.password")).unwrap();
        for (listener, security) in [
            ("SASL_SSL", user("SASL_SSL", "SCRAM-SHA-512", "admin", &own)),
            ("SASL_SSL", user("SASL_SSL", "SCRAM-SHA-256", "admin", &own)),
            ("SASL_SSL", user("SASL_SSL", "PLAIN", "admin", &own)),
            ("SASL_PLAINTEXT", user("SASL_PLAINTEXT", "SCRAM-SHA-512", "admin", &own)),
            ("SSL", shows("admin", "admin.key", None)),
            ("SSL", shows("admin", "admin-locked.key", Some(locked.trim_end()))),
        ] {
            let seen = asked(listener, security.clone());
            let found = seen.known().unwrap_or_else(|| panic!("{security:?}: {seen:?}"));
            let ours = |disk: &Disk| disk.path.ends_with(&format!("/data-{}", disk.broker));
            assert!(!found.is_empty() && found.iter().all(ours), "{found:?}");
            assert!(found.iter().all(|disk| disk.room.is_some_and(|room| room.usable <= room.total)), "{found:?}");
        }
    }

    #[test]
    #[ignore = "needs secure Kafka"]
    fn whoever_is_turned_away_is_told_why_without_the_secret() {
        let own = password("admin");
        let other = |ca: &str| Security {
            ca_file: Some(folder().join("certificates").join(ca)),
            ..user("SASL_SSL", "PLAIN", "admin", &own)
        };
        let nobody = user("SASL_SSL", "SCRAM-SHA-512", "nobody", &password("nobody"));
        for (listener, security, expected) in [
            ("SASL_SSL", user("SASL_SSL", "SCRAM-SHA-512", "admin", "wrong-one"), "it refused the log-in of 'admin'"),
            ("SASL_SSL", user("SASL_SSL", "SCRAM-SHA-256", "admin", "wrong-one"), "it refused the log-in of 'admin'"),
            ("SASL_SSL", user("SASL_SSL", "PLAIN", "admin", "wrong-one"), "it refused the log-in of 'admin'"),
            ("SASL_PLAINTEXT", user("SASL_PLAINTEXT", "PLAIN", "admin", &own), "does not take the mechanism PLAIN"),
            ("SASL_SSL", other("other-ca.pem"), "its certificate is refused"),
            ("EXPIRED", other("ca.pem"), "its certificate is refused: certificate has expired"),
            ("MISNAMED", other("ca.pem"), "its certificate is refused: "),
            ("SASL_SSL", nobody, "the user lacks the right"),
            ("SSL", shows("admin", "admin-locked.key", None), "`key_file` cannot be used"),
            ("SSL", shows("stranger", "stranger.key", None), "broker 1: TLS ends: "),
        ] {
            let why = hidden(asked(listener, security.clone()));
            assert!(why.starts_with("broker ") && why.contains(expected), "{security:?}: {why}");
            assert!(!why.contains("wrong-one") && !why.contains(&own) && why.len() < 120, "{why}");
        }
    }
}
