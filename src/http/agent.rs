//! The client of every server that is asked over HTTP.

use std::time::Duration;

use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

const CONNECT: Duration = Duration::from_secs(4);

/// Follows no redirect and asks no proxy: what is asked for is asked of the server that was named. `patience` is that of
/// a whole call. Of the roots the platform's are those OpenSSL finds, also by `SSL_CERT_FILE`.
pub fn agent(roots: RootCerts, patience: Duration) -> Agent {
    let tls = TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(roots).build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(concat!("crossfade/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(CONNECT))
        .timeout_global(Some(patience))
        .build();
    config.new_agent()
}
