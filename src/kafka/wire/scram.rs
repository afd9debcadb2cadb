//! SCRAM's side of the client, RFC 5802, without channel binding.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use openssl::hash::{MessageDigest, hash};
use openssl::pkcs5::pbkdf2_hmac;
use openssl::pkey::PKey;
use openssl::sign::Signer;

/// Fewer would let a false broker guess the password cheaply; many more would keep the client busy.
const ITERATIONS: std::ops::RangeInclusive<usize> = 4096..=1_000_000;

pub(super) struct Scram {
    digest: MessageDigest,
    nonce: String,
    first: String,
}

/// What a broker that knows the password will show.
pub(super) struct Signature(Vec<u8>);

impl Signature {
    pub(super) fn is_of(&self, text: &str) -> bool {
        let shown = text.split(',').next().and_then(|part| part.strip_prefix("v="));
        let shown = shown.and_then(|shown| STANDARD.decode(shown).ok());
        shown.is_some_and(|shown| shown.len() == self.0.len() && openssl::memcmp::eq(&shown, &self.0))
    }
}

pub(super) fn nonce() -> Option<String> {
    let mut bytes = [0; 24];
    openssl::rand::rand_bytes(&mut bytes).ok()?;
    Some(STANDARD.encode(bytes))
}

impl Scram {
    pub(super) fn new(digest: MessageDigest, user: &str, nonce: String) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Self { digest, first: format!("n={user},r={nonce}"), nonce }
    }

    pub(super) fn first(&self) -> String {
        format!("n,,{}", self.first)
    }

    /// The answer to the broker's challenge; none where that is odd or too weak.
    pub(super) fn proof(&self, password: &str, challenge: &str) -> Option<(String, Signature)> {
        let mut parts = challenge.split(',');
        let nonce = parts.next()?.strip_prefix("r=")?;
        let salt = STANDARD.decode(parts.next()?.strip_prefix("s=")?).ok()?;
        let iterations: usize = parts.next()?.strip_prefix("i=")?.parse().ok()?;
        if !nonce.starts_with(&self.nonce) || nonce == self.nonce || !ITERATIONS.contains(&iterations) {
            return None;
        }
        let mut salted = vec![0; self.digest.size()];
        pbkdf2_hmac(password.as_bytes(), &salt, iterations, self.digest, &mut salted).ok()?;
        let client_key = self.hmac(&salted, b"Client Key")?;
        let stored_key = hash(self.digest, &client_key).ok()?;
        let without_proof = format!("c=biws,r={nonce}");
        let exchanged = format!("{},{challenge},{without_proof}", self.first);
        let client_signature = self.hmac(&stored_key, exchanged.as_bytes())?;
        let proof: Vec<u8> = client_key.iter().zip(&client_signature).map(|(key, signed)| key ^ signed).collect();
        let server_key = self.hmac(&salted, b"Server Key")?;
        let signature = Signature(self.hmac(&server_key, exchanged.as_bytes())?);
        Some((format!("{without_proof},p={}", STANDARD.encode(proof)), signature))
    }

    fn hmac(&self, key: &[u8], text: &[u8]) -> Option<Vec<u8>> {
        let key = PKey::hmac(key).ok()?;
        Signer::new(self.digest, &key).ok()?.sign_oneshot_to_vec(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const CHALLENGE: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn scram() -> Scram {
        Scram::new(MessageDigest::sha256(), "user", NONCE.to_owned())
    }

    #[test]
    fn the_example_of_rfc_7677() {
        assert_eq!(scram().first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let (proof, signature) = scram().proof("pencil", CHALLENGE).unwrap();
        let expected = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(proof, expected);
        assert!(signature.is_of("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        for false_one in ["v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "v=", "v=6rri", "e=other-error", ""] {
            assert!(!signature.is_of(false_one), "{false_one}");
        }
    }

    #[test]
    fn a_weak_or_foreign_challenge_is_not_answered() {
        assert_eq!(Scram::new(MessageDigest::sha256(), "a=b,c", "x".into()).first(), "n,,n=a=3Db=2Cc,r=x");
        for challenge in [
            CHALLENGE.replace("4096", "4095"),
            CHALLENGE.replace("4096", "1000001"),
            CHALLENGE.replace("4096", "many"),
            CHALLENGE.replace("r=rO", "r=rX"),
            CHALLENGE.replace("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", ""),
            CHALLENGE.replace("s=W22", "s=?"),
            format!("m=needed,{CHALLENGE}"),
            String::new(),
        ] {
            assert!(scram().proof("pencil", &challenge).is_none(), "{challenge}");
        }
    }

    proptest! {
        #[test]
        fn any_challenge_is_borne(challenge in "(r=rOprNGfwEbeRWgbNEkqO)?[r,s=i0-9a-zA-Z+/]{0,60}") {
            let _ = scram().proof("pencil", &challenge);
        }
    }
}
