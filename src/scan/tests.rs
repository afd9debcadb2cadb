//! Each rule with what it finds and what it must pass over.

use super::find::{hits, signs};
use super::*;
use crate::mapping::Value;

/// The rules that find something in `text`, with what they find.
fn found(text: &str) -> Vec<(&'static str, &str)> {
    let mut at = Vec::new();
    signs(text.as_bytes(), &mut at);
    let hits = hits(text.as_bytes(), &at, 0, |_| true);
    hits.into_iter().map(|hit| (RULES[hit.rule].name, &text[hit.at])).collect()
}

/// Not written whole, so that no scan of this file finds one.
fn secrets() -> Vec<(&'static str, String)> {
    let random = "q8Zr2Lw9Xy4aB3kQ77mN1pT5vC6dE0fGh2Jk4LmN8pQrS6tUvWx";
    let of = |prefix: &str, length: usize| format!("{prefix}{}", &random.repeat(3)[..length]);
    let jwt = concat!(
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
        ".eyJzdWIiOiIxMjM0NTY3ODkwIn0",
        ".dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
    );
    vec![
        ("anthropic-key", of("sk-ant-api03-", 80)),
        ("openai-key", of("sk-proj-", 48)),
        ("openai-key", of("sk-", 48)),
        ("github-token", of("ghp_", 36)),
        ("github-token", of("gho_", 36)),
        ("github-token", of("ghs_", 36)),
        ("github-token", of("github_pat_11A", 70)),
        ("gitlab-token", of("glpat-", 20)),
        ("aws-key-id", format!("AKIA{}", "IOSFODNN7QWERTYU")),
        ("slack-token", of("xoxb-1234567890-", 24)),
        ("slack-webhook", of("hooks.slack.com/services/T0AB/B0CD/", 24)),
        ("google-key", of("AIza", 35)),
        ("google-oauth", of("ya29.", 60)),
        ("stripe-key", of("sk_live_", 24)),
        ("npm-token", of("npm_", 36)),
        ("pypi-token", of("pypi-AgEIcHlwaS5vcmc", 60)),
        ("sendgrid-key", format!("{}.{}", of("SG.", 22), &random[..43])),
        ("huggingface-token", of("hf_", 34)),
        ("digitalocean-token", format!("dop_v1_{}", "0123456789abcdef".repeat(4))),
        ("vault-token", of("hvs.", 30)),
        ("docker-token", of("dckr_pat_", 27)),
        ("shopify-token", of("shpat_", 32)),
        (
            "private-key",
            format!(
                "-----BEGIN RSA PRIVATE KEY-----\n{}\n{}\n-----END RSA PRIVATE KEY-----",
                &random[..48],
                &random[..20]
            ),
        ),
        (
            "private-key",
            format!("-----BEGIN PGP PRIVATE KEY BLOCK-----\n{random}\n-----END PGP PRIVATE KEY BLOCK-----"),
        ),
        ("private-key", format!(r"-----BEGIN PRIVATE KEY-----\n{random}")),
        ("jwt", jwt.to_owned()),
        ("password-hash", format!("$2b$12${}", &random.repeat(2)[..53])),
        ("password-hash", format!("$argon2id$v=19$m=65536,t=3,p=4${}${}", &random[..22], &random[..43])),
        ("password-hash", format!("$scrypt$ln=16,r=8,p=1${}${}", &random[..22], &random[..43])),
        ("password-hash", format!("$6${}${}", &random[..16], &random.repeat(2)[..86])),
        ("password-hash", format!("pbkdf2_sha256$600000${}${}=", &random[..22], &random[..43])),
    ]
}

#[test]
fn i11_every_rule_finds_its_credential_wherever_it_stands() {
    for (rule, secret) in secrets() {
        for (before, behind) in [
            ("", ""),
            ("use ", " please"),
            ("'", "'"),
            ("(", ")"),
            ("a,", ",b"),
            ("x\n", "\ny"),
            (r"x\n", r"\ny"),
            ("key: ", ".\n"),
        ] {
            let text = format!("{before}{secret}{behind}");
            let found = found(&text);
            assert_eq!(found.len(), 1, "{rule} in {text:?}: {found:?}");
            assert_eq!(found[0].0, rule, "{text:?}");
            let left = mask(&text).into_owned();
            let rest = left.replace(&format!("[redacted:{rule}]"), "");
            assert!(rest.len() <= before.len() + behind.len() + 1, "{rule} leaves {rest:?}");
        }
    }
    let ids: Vec<&str> = secrets().into_iter().map(|(rule, _)| rule).collect();
    let labelled = ["aws-secret", "url-password", "authorization", "labelled-secret"];
    for rule in RULES {
        assert!(ids.contains(&rule.name) || labelled.contains(&rule.name), "no case for {}", rule.name);
    }
}

#[test]
fn i11_what_is_known_by_its_label_is_found_without_it() {
    let random = "q8Zr2Lw9Xy4aB3kQ77mN1pT5vC6dE0fGh2Jk4Lm/";
    for (rule, text, secret) in [
        ("aws-secret", format!("{}{} {random}", "AKIA", "IOSFODNN7QWERTYU"), random),
        ("labelled-secret", format!("aws_secret_access_key = {random}"), random),
        ("url-password", "postgres://app:s3cr3t-pw@db.internal:5432/x".into(), "s3cr3t-pw"),
        ("url-password", "see https://bob:p@ss@example.com/path".into(), "p@ss"),
        ("authorization", format!("Authorization: Bearer {random}"), random),
        ("authorization", format!("-H 'authorization: bearer {random}'"), random),
        ("authorization", r#"{"Authorization": "Basic dXNlcjpwYXNzd29yZA=="}"#.into(), "dXNlcjpwYXNzd29yZA=="),
        ("labelled-secret", "password=hunter2!xyz".into(), "hunter2!xyz"),
        ("labelled-secret", r#"{"password": "Tr0ub4dor&3"}"#.into(), "Tr0ub4dor&3"),
        ("labelled-secret", r#"{\"password\":\"Tr0ub4dor&3\"}"#.into(), "Tr0ub4dor&3"),
        ("labelled-secret", "DB_PASSWORD='x9!kd83jd'".into(), "x9!kd83jd"),
        (
            "labelled-secret",
            "client_secret: 9f86d081884c7d659a2feaa0c55ad015".into(),
            "9f86d081884c7d659a2feaa0c55ad015",
        ),
        (
            "labelled-secret",
            "apiKey => \"550e8400-e29b-41d4-a716-446655440000\"".into(),
            "550e8400-e29b-41d4-a716-446655440000",
        ),
        ("labelled-secret", "X-API-KEY: a81bc81b3dead4e5cabff90865d1e13b1".into(), "a81bc81b3dead4e5cabff90865d1e13b1"),
        ("labelled-secret", "continueToken=Zm9vYmFyMTIzNDU2Nzg5".into(), "Zm9vYmFyMTIzNDU2Nzg5"),
    ] {
        let found: Vec<_> = found(&text).into_iter().filter(|(name, _)| *name == rule).collect();
        assert_eq!(found, [(rule, secret)], "{text}");
        assert!(!mask(&text).contains(secret), "{text}");
    }
}

#[test]
fn what_only_looks_like_one_is_passed_over() {
    for text in [
        "550e8400-e29b-41d4-a716-446655440000",
        "commit 0033d1a4f6b7c8d9e0f1a2b3c4d5e6f708192a3b",
        "sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "sha256sum 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08  file",
        "primary key: 9f86d081884c7d659a2feaa0c55ad015",
        "task-sk-learn-a-very-long-name-of-a-thing",
        "sk-some-kebab-case-identifier-here",
        "risk-q8Zr2Lw9Xy4aB3kQ77mN1pT5vC6d",
        "ghp_short",
        "xghp_q8Zr2Lw9Xy4aB3kQ77mN1pT5vC6dE0fGh2Jk",
        "AKIA is how they begin; AKIA1234 is too short, AKIAIOSFODNN7QWERTYUX too long",
        "hf_transfer_is_enabled_for_all_the_models",
        "eyJub3QiOiJhIHRva2VuIn0.eyJub3QiOiJhIHRva2VuIn0.abc",
        "eyJhbGciOiJIUzI1NiJ9 alone",
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END PUBLIC KEY-----",
        "a PRIVATE KEY in prose",
        "$2b$12$ is how bcrypt begins",
        "cost $6$ or $5$ each",
        "https://example.com:8080/a@b",
        "https://user@example.com/",
        "postgres://user:password@localhost/db",
        "postgres://user:${PASSWORD}@localhost/db",
        "npm://a:b/c@d",
        "Bearer authentication is what the server wants",
        "the bearer of this letter",
        "password: string",
        "password: required",
        "const password = process.env.PASSWORD2",
        "password = getPassword2(user)",
        "PASSWORD_FILE=/run/secrets/db1",
        "password=/run/secrets/db1",
        "password=********",
        "password: <your-password-1>",
        "secret: my-service-token-v2-prod",
        "secretName: registry-credentials-2",
        "max_tokens=4096000000000000000",
        "tokens: 12345678901234567",
        "tokensUsed: 1234567890123456a",
        "token == q8Zr2Lw9Xy4aB3kQ77mN",
        "token: TokenKind.Identifier1",
        "the key: value pairs a1b2c3d4e5f6a7b8c9d0",
        "KEYWORD=a1b2c3d4e5f6a7b8c9d0e1f2",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn i11_a_text_without_its_credentials_stays_as_it_is() {
    for (_, secret) in secrets() {
        for before in ["", "password=", "Authorization: Bearer ", "https://u:", "api_key: "] {
            let once = mask(&format!("{before}{secret}@h")).into_owned();
            assert_eq!(mask(&once), once, "{before}{secret}");
            assert!(redacted(Value::text(&once)).is_some(), "{once}");
        }
    }
    assert_eq!(redacted(Value::text("[redacted:no-such-rule] [redacted")), None);
    assert_eq!(redacted(Value::Blob(b"[redacted:jwt]")), None);
}

/// The signs are looked for from left to right, and what lies over one found is not seen.
#[test]
fn no_sign_begins_within_another() {
    let anchors: Vec<&str> = RULES.iter().flat_map(|rule| rule.anchors.iter().copied()).collect();
    for one in &anchors {
        for two in &anchors {
            // A key block is found by what stands in its middle, before which there is no such end.
            for length in 1..one.len().min(two.len()) {
                let over = one.ends_with(&two[..length]);
                assert!(
                    !over
                        || !two.as_bytes()[0].is_ascii_alphanumeric()
                        || one.as_bytes()[one.len() - length - 1].is_ascii_alphanumeric()
                        || one.as_bytes()[one.len() - length - 1] == b'_',
                    "{one} and {two}"
                );
            }
        }
    }
}

#[test]
fn a_hostile_text_takes_no_time() {
    for piece in [
        "eyJ",
        "token=",
        "://a:",
        "password=\"",
        "-----BEGIN PRIVATE KEY-----",
        "AKIA",
        "Bearer ",
        "sk-",
        "$argon2",
        "token=a1",
        "xoxb-",
    ] {
        let began = std::time::Instant::now();
        let text = piece.repeat((1 << 17) / piece.len());
        masked(Value::text(&text));
        // Looking from every sign to the end would take several times as long on any machine.
        assert!(began.elapsed() < std::time::Duration::from_secs(10), "{piece}: {:?}", began.elapsed());
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_scanned(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
        let _ = masked(Value::Text(&bytes));
    }

    #[test]
    fn i11_a_credential_in_any_text_is_found(before in "[ -~\n]{0,80}", behind in "[ -~\n]{0,80}") {
        let (_, secret) = secrets().swap_remove(3);
        let text = format!("{before} {secret} {behind}");
        proptest::prop_assert!(!mask(&text).contains(&secret[4..]), "{}", text);
    }
}
