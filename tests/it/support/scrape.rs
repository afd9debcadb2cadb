//! Figures as Prometheus reads them.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// An address nobody listens at just now.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// What the address answers to one request: the status line's code, and the body.
pub fn ask(address: SocketAddr, request: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(format!("{request} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = format!("Content-Length: {}", body.len());
    assert!(head.contains(&length), "{head}");
    Ok((code, body.to_owned()))
}

/// The figures there, once the process answers; `None` while it does not.
pub fn scrape(address: SocketAddr) -> Option<BTreeMap<String, f64>> {
    let (code, text) = ask(address, "GET /metrics").ok()?;
    assert_eq!(code, 200);
    Some(checked(&text))
}

/// The figures of a text, held to the rules of the format: each has help and type before its value, once; names and
/// values are well formed; counters end in `_total` and are not negative.
#[track_caller]
pub fn checked(text: &str) -> BTreeMap<String, f64> {
    let name_fits = |name: &str| {
        let mut bytes = name.bytes();
        bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || b"_:".contains(&byte))
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_:".contains(&byte))
    };
    assert!(text.ends_with('\n') && !text.contains('\r') && !text.contains("\n\n"), "{text:?}");
    let (mut figures, mut helped, mut typed) = (BTreeMap::new(), None, None);
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(name_fits(name) && !help.is_empty() && !figures.contains_key(name), "{line}");
            (helped, typed) = (Some(name), None);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(helped == Some(name) && ["counter", "gauge"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            typed = Some(kind);
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let (bare, labels) = name.split_once('{').map_or((name, None), |(bare, rest)| (bare, Some(rest)));
            assert!(helped == Some(bare) && typed.is_some(), "{line}");
            if let Some(labels) = labels {
                let (label, value) = labels.strip_suffix('}').unwrap().split_once('=').unwrap();
                assert!(name_fits(label) && value.starts_with('"') && value.ends_with('"'), "{line}");
            }
            let value: f64 = value.parse().unwrap();
            assert!(value >= 0.0 && figures.insert(bare.to_owned(), value).is_none(), "{line}");
            typed = None;
        }
    }
    figures
}
