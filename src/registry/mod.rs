//! Schema registries: over Confluent's HTTP interface, and as files beside `crossfade.yaml` where there is none.

mod answer;
mod folder;
mod http;

use std::fmt;
use std::path::PathBuf;

pub use folder::FolderRegistry;
pub use http::HttpRegistry;

/// Where the registry is and how to log in.
#[derive(Clone, Debug, Default)]
pub struct RegistrySettings {
    /// Up to where `/subjects` begins, without credentials.
    pub url: String,
    pub username: Option<String>,
    pub password: Option<Password>,
    /// Certificates of the authorities to trust instead of the system's, PEM.
    pub ca_file: Option<PathBuf>,
}

/// A text that never shows itself.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// A subject as a part of a path or a name of a file.
fn encoded(subject: &str) -> String {
    let mut text = String::with_capacity(subject.len());
    for (at, byte) in subject.bytes().enumerate() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) || (byte == b'.' && at > 0) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// The subject a name of a file stands for; `None` for what [`encoded`] does not write.
fn decoded(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, more @ ..] = rest {
        match (first, more) {
            (b'%', [high, low, more @ ..]) => {
                let digits = [*high, *low];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
                rest = more;
            }
            (byte, more) => {
                bytes.push(*byte);
                rest = more;
            }
        }
    }
    String::from_utf8(bytes).ok().filter(|subject| encoded(subject) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_survive_as_names_of_files() {
        for subject in ["a.b-c", "odd name/x-é", "..", "%41", ""] {
            let name = encoded(subject);
            assert!(!name.contains('/') && name != "..", "{name}");
            assert_eq!(decoded(&name).as_deref(), Some(subject));
        }
        assert_eq!(decoded("a b"), None);
        assert_eq!(decoded("%2"), None);
    }

    #[test]
    fn a_password_never_shows_itself() {
        let settings = RegistrySettings { password: Some(Password::new("tell-nobody")), ..RegistrySettings::default() };
        assert!(!format!("{settings:?}").contains("tell-nobody"));
    }
}
