//! The table of rules: what begins a credential, what it must look like, and why it is one.

use std::ops::Range;

use super::labelled::{assigned, bearer, url_password};
use super::shapes::{aws_secret, jwt, password_hash, private_key, slack_webhook};
use super::text::{base64, begins, dotted, run, run_within, url_safe, word, wordy};

/// One kind of credential.
pub struct Rule {
    pub name: &'static str,
    pub reason: &'static str,
    /// Each of them may begin one, or is its first sign.
    pub(super) anchors: &'static [&'static str],
    shape: Shape,
}

/// Bytes that must show what a run is.
const NEAR: usize = 256;

enum Shape {
    /// Behind an anchor that begins a word come at least so many of these, which are no words.
    Run(fn(u8) -> bool, usize),
    /// As `Run`, of so many and no more.
    Exactly(fn(u8) -> bool, usize),
    Own(fn(&[u8], usize, &str) -> Option<Range<usize>>),
}

impl Rule {
    /// Where in `text` the credential lies whose sign `anchor` stands at `at`.
    pub(super) fn fits(&self, text: &[u8], at: usize, anchor: &str) -> Option<Range<usize>> {
        let (of, least, most) = match self.shape {
            Shape::Own(own) => return own(text, at, anchor),
            Shape::Run(of, least) => (of, least, usize::MAX),
            Shape::Exactly(of, length) => (of, length, length),
        };
        let from = at + anchor.len();
        if !begins(text, at) {
            return None;
        }
        let near = run_within(text, from, NEAR, of);
        let fits = (least..=most).contains(&(near - from)) && !wordy(&text[from..near]);
        fits.then(|| at..run(text, near, of))
    }
}

fn upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

macro_rules! rules {
    ($($name:literal, $anchors:expr, $shape:expr, $reason:literal;)*) => {
        /// All rules; where two find the same place, the earlier one names it.
        pub static RULES: &[Rule] = &[$(Rule { name: $name, reason: $reason, anchors: &$anchors, shape: $shape },)*];
    };
}

use Shape::{Exactly, Own, Run};

rules! {
    "anthropic-key", ["sk-ant-"], Run(url_safe, 20), "keys of Anthropic's API begin with sk-ant-";
    "openai-key", ["sk-"], Run(url_safe, 20), "keys of OpenAI's API and of its likes begin with sk-";
    "github-token", ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"], Run(word, 30),
        "GitHub's tokens begin with gh, their kind, and an underscore";
    "gitlab-token", ["glpat-", "gldt-", "glrt-", "glptt-"], Run(dotted, 20), "GitLab's tokens begin with gl and their kind";
    "aws-key-id", ["AKIA", "ASIA", "ABIA", "ACCA"], Exactly(upper, 16), "access keys of AWS are 20 capitals that name their kind";
    "aws-secret", ["AKIA", "ASIA"], Own(aws_secret), "40 mixed characters soon behind an access key of AWS are its secret";
    "slack-token", ["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxe", "xapp-"], Run(dotted, 10), "Slack's tokens begin with xox or xapp";
    "slack-webhook", ["hooks.slack.com/"], Own(slack_webhook), "whoever has the address of a webhook may post";
    "google-key", ["AIza"], Run(url_safe, 30), "keys of Google's APIs begin with AIza";
    "google-oauth", ["ya29.", "GOCSPX-"], Run(dotted, 20), "Google's access tokens and client secrets begin so";
    "stripe-key", ["sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_"], Run(word, 16), "Stripe's keys name what they are for";
    "npm-token", ["npm_"], Run(word, 30), "tokens of npm begin with npm_";
    "pypi-token", ["pypi-AgE"], Run(url_safe, 30), "tokens of PyPI begin with pypi-AgE";
    "sendgrid-key", ["SG."], Run(dotted, 60), "keys of SendGrid begin with SG and have two long parts";
    "huggingface-token", ["hf_"], Run(word, 30), "tokens of Hugging Face begin with hf_";
    "digitalocean-token", ["dop_v1_", "doo_v1_"], Run(word, 40), "tokens of DigitalOcean begin so";
    "vault-token", ["hvs.", "hvb."], Run(url_safe, 24), "tokens of Vault begin with hvs or hvb";
    "docker-token", ["dckr_pat_"], Run(url_safe, 20), "tokens of Docker Hub begin with dckr_pat_";
    "shopify-token", ["shpat_", "shpss_"], Run(word, 30), "tokens of Shopify begin with shp and their kind";
    "private-key", ["PRIVATE KEY"], Own(private_key), "a PEM block with a private key";
    "jwt", ["eyJ"], Own(jwt), "a JSON Web Token: its first part decodes to an object with 'alg' or 'enc'";
    "password-hash", ["$2a$", "$2b$", "$2y$", "$argon2", "$scrypt$", "$5$", "$6$", "$y$", "pbkdf2"], Own(password_hash),
        "a password's hash can be tried for the password: bcrypt, Argon2, scrypt, crypt, PBKDF2";
    "url-password", ["://"], Own(url_password), "a password stands before the host of an address";
    "authorization", ["earer ", "EARER ", "uthorization", "UTHORIZATION"], Own(bearer), "what follows Bearer or Basic lets one in";
    "labelled-secret", ["assw", "ASSW", "assphrase", "pwd", "PWD", "ecret", "ECRET", "oken", "OKEN", "key", "Key", "KEY"],
        Own(assigned), "a random value behind a name like password, secret, token or api_key";
}

/// Whether a byte may stand in a value of base64, with or without padding.
pub(super) fn encoded(byte: u8) -> bool {
    base64(byte) || url_safe(byte)
}
