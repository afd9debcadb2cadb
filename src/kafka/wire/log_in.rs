//! SASL: PLAIN and SCRAM.

use openssl::hash::MessageDigest;

use super::frame::{Reader, put_bytes, put_text};
use super::scram::{Scram, nonce};
use super::{Talk, Told, odd};
use crate::kafka::settings::Security;

const HANDSHAKE: i16 = 17;
const AUTHENTICATE: i16 = 36;
const UNSUPPORTED_MECHANISM: i16 = 33;
const ILLEGAL_STATE: i16 = 34;
const FAILED: i16 = 58;

pub(super) fn log_in(talk: &mut Talk, security: &Security) -> Told<()> {
    let mechanism = security.mechanism.as_deref().unwrap_or_default();
    let user = security.username.as_deref().unwrap_or_default();
    let password = security.password.as_ref().map_or("", |secret| secret.text());
    let mut body = Vec::new();
    put_text(&mut body, mechanism);
    match Reader::new(&talk.ask(HANDSHAKE, 1, &body)?).int16().ok_or_else(odd)? {
        0 => {}
        UNSUPPORTED_MECHANISM => return Err(format!("it does not take the mechanism {mechanism}")),
        ILLEGAL_STATE => return Err("it has no log-in on this listener".to_owned()),
        code => return Err(format!("it refuses the log-in, with Kafka's error {code}")),
    }
    let digest = match mechanism {
        "PLAIN" => return say(talk, user, &format!("\0{user}\0{password}")).map(drop),
        "SCRAM-SHA-256" => MessageDigest::sha256(),
        "SCRAM-SHA-512" => MessageDigest::sha512(),
        _ => return Err(format!("the mechanism {mechanism} is not known here")),
    };
    let scram = Scram::new(digest, user, nonce().ok_or_else(odd)?);
    let challenge = say(talk, user, &scram.first())?;
    let (proof, signature) = scram.proof(password, &challenge).ok_or_else(odd)?;
    let verified = say(talk, user, &proof)?;
    if signature.is_of(&verified) { Ok(()) } else { Err("it does not prove that it knows the password".to_owned()) }
}

/// Sends a token and gives the broker's.
fn say(talk: &mut Talk, user: &str, token: &str) -> Told<String> {
    let mut body = Vec::new();
    put_bytes(&mut body, token.as_bytes());
    let answer = talk.ask(AUTHENTICATE, 0, &body)?;
    let mut answer = Reader::new(&answer);
    match answer.int16().ok_or_else(odd)? {
        0 => {}
        FAILED => return Err(format!("it refused the log-in of '{user}'")),
        code => return Err(format!("it refuses the log-in, with Kafka's error {code}")),
    }
    let token = answer.text().and_then(|_| answer.bytes());
    token.and_then(|token| String::from_utf8(token.to_vec()).ok()).ok_or_else(odd)
}
