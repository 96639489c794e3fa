//! A real redis-server that speaks TLS.

use super::certs::{Authority, Files, Pair};
use crate::HERE;
use crate::common::Redis;
use crate::common::redis::free_port;

/// A Redis that speaks TLS too, as `server`, and demands certificates of `clients`.
pub struct TlsRedis {
    pub redis: Redis,
    port: u16,
    /// Also what its clients need: `ca.pem`, `client.pem`, `client.key`.
    pub files: Files,
}

impl TlsRedis {
    pub fn start(authority: &Authority, server: &Pair) -> Self {
        let (files, port) = (Files::new(), free_port());
        files.put_pair("redis", server);
        files.put("ca.pem", &authority.pem);
        files.put_pair("client", &authority.issue("client"));
        let [cert, key, ca] = ["redis.pem", "redis.key", "ca.pem"].map(|name| files.name(name));
        let port_said = port.to_string();
        let redis = Redis::with(&[
            "--save",
            "",
            "--appendonly",
            "no",
            "--tls-port",
            &port_said,
            "--tls-cert-file",
            &cert,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &ca,
            "--tls-auth-clients",
            "yes",
        ]);
        Self { redis, port, files }
    }

    pub fn url(&self) -> String {
        format!("rediss://{HERE}:{}", self.port)
    }

    /// Settings with which it can be reached.
    pub fn settings(&self) -> Vec<String> {
        [("tls_ca", "ca.pem"), ("tls_cert", "client.pem"), ("tls_key", "client.key")]
            .map(|(key, file)| format!("upstream.{key}={}", self.files.name(file)))
            .to_vec()
    }
}
