//! TLS and mutual TLS, and certificates that change while the server runs.

use std::path::Path;
use std::process::Output;

use aiops_inference_pod::protocol::grpc_v2::proto::ServerLiveRequest;
use aiops_inference_pod::protocol::grpc_v2::proto::grpc_inference_service_client::GrpcInferenceServiceClient;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

use crate::support::{Repository, Server, client, eventually, program};

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

pub struct Pair {
    certificate: String,
    key: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn issue(&self, until_year: i32) -> Pair {
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = date_time_ymd(until_year, 1, 1);
        let key = KeyPair::generate().unwrap();
        Pair {
            certificate: params.signed_by(&key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    fn pem(&self) -> String {
        self.0.pem()
    }
}

/// A folder as Kubernetes mounts a Secret: the files are links into a folder that is swapped as a whole.
pub struct Secret(tempfile::TempDir);

impl Secret {
    pub fn new(pair: &Pair, authority: &Authority) -> Self {
        let secret = Self(tempfile::tempdir().unwrap());
        for file in ["tls.crt", "tls.key", "ca.crt"] {
            std::os::unix::fs::symlink(Path::new("..data").join(file), secret.0.path().join(file)).unwrap();
        }
        secret.swap("..1", pair, authority);
        secret
    }

    fn swap(&self, version: &str, pair: &Pair, authority: &Authority) {
        let root = self.0.path();
        let folder = root.join(version);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("tls.crt"), &pair.certificate).unwrap();
        std::fs::write(folder.join("tls.key"), &pair.key).unwrap();
        std::fs::write(folder.join("ca.crt"), authority.pem()).unwrap();
        std::os::unix::fs::symlink(version, root.join("..data_tmp")).unwrap();
        std::fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    }

    pub fn flags(&self, front: &str, mutual: bool) -> Vec<String> {
        let file = |name: &str| self.0.path().join(name).display().to_string();
        let mut flags = vec![
            format!("--{front}-use-ssl=true"),
            format!("--{front}-server-cert={}", file("tls.crt")),
            format!("--{front}-server-key={}", file("tls.key")),
        ];
        if mutual {
            flags.extend([
                format!("--{front}-use-ssl-mutual=true"),
                format!("--{front}-root-cert={}", file("ca.crt")),
            ]);
        }
        flags
    }
}

pub async fn start(repository: &Repository, flags: &[String]) -> Server {
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let server = Server::start_unready(&repository.uri(), &flags);
    // As a probe does that has no certificate.
    eventually("the server to become ready", || async {
        let url = format!("{}/v2/health/ready", server.metrics);
        client()
            .get(url)
            .send()
            .await
            .is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    server
}

pub fn secured(address: &str) -> String {
    address.replace("http://", "https://")
}

pub fn trusting(authority: &Authority, identity: Option<&Pair>, http2: bool) -> reqwest::Client {
    drop(client());
    let certificate = reqwest::Certificate::from_pem(authority.pem().as_bytes()).unwrap();
    let mut builder = reqwest::Client::builder().tls_certs_only([certificate]);
    if let Some(pair) = identity {
        let pem = format!("{}{}", pair.certificate, pair.key);
        builder = builder.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap());
    }
    if !http2 {
        builder = builder.http1_only();
    }
    builder.build().unwrap()
}

async fn grpc(server: &Server, authority: &Authority, identity: Option<&Pair>) -> Result<(), String> {
    let mut tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authority.pem()))
        .domain_name("localhost");
    if let Some(pair) = identity {
        tls = tls.identity(Identity::from_pem(&pair.certificate, &pair.key));
    }
    let endpoint = Channel::from_shared(secured(&server.grpc))
        .unwrap()
        .tls_config(tls)
        .unwrap();
    let channel = endpoint.connect().await.map_err(|error| format!("{error:?}"))?;
    let answer = GrpcInferenceServiceClient::new(channel)
        .server_live(ServerLiveRequest {})
        .await;
    answer.map(|_| ()).map_err(|error| format!("{error:?}"))
}

async fn get(client: &reqwest::Client, address: &str, path: &str) -> Result<(u16, http::Version), String> {
    let answer = client.get(format!("{}{path}", secured(address))).send().await;
    answer
        .map(|answer| (answer.status().as_u16(), answer.version()))
        .map_err(|error| format!("{error:?}"))
}

#[tokio::test]
async fn every_front_speaks_tls_and_a_changed_certificate_is_used_without_a_restart() {
    let (old, new) = (Authority::new(), Authority::new());
    let secret = Secret::new(&old.issue(2040), &old);
    let repository = Repository::of(&["dense_1"]);
    let flags = [secret.flags("http", false), secret.flags("grpc", false)].concat();
    let server = start(&repository, &flags).await;

    let kept = trusting(&old, None, false);
    assert_eq!(
        get(&kept, &server.http, "/v2/models/dense_1").await,
        Ok((200, http::Version::HTTP_11))
    );
    assert_eq!(
        get(&kept, &server.rest, "/health").await,
        Ok((200, http::Version::HTTP_11))
    );
    let http2 = trusting(&old, None, true);
    assert_eq!(
        get(&http2, &server.http, "/v2").await,
        Ok((200, http::Version::HTTP_2))
    );
    grpc(&server, &old, None).await.unwrap();
    assert!(
        get(&trusting(&new, None, true), &server.http, "/v2")
            .await
            .is_err()
    );
    let plain = client().get(format!("{}/v2", server.http)).send().await;
    assert!(plain.is_err(), "{plain:?}");
    let ends = "aiops_tls_certificate_not_after_seconds{front=\"grpc\"}";
    assert_eq!(server.metric(ends).await, 2_208_988_800.0);

    // A pair that does not fit is said and not used.
    let mixed = Pair {
        key: new.issue(2041).key,
        ..new.issue(2041)
    };
    secret.swap("..2", &mixed, &new);
    eventually("the wrong pair to be named", || async {
        server.log().contains("--http-server-key: the key in ")
    })
    .await;
    grpc(&server, &old, None).await.unwrap();

    secret.swap("..3", &new.issue(2041), &new);
    eventually("the new certificate", || async {
        get(&trusting(&new, None, true), &server.http, "/v2")
            .await
            .is_ok()
            && grpc(&server, &new, None).await.is_ok()
    })
    .await;
    assert!(grpc(&server, &old, None).await.is_err());
    assert_eq!(server.metric(ends).await, 2_240_611_200.0);
    assert_eq!(
        get(&kept, &server.http, "/v2").await,
        Ok((200, http::Version::HTTP_11)),
        "what is open goes on"
    );
}

#[tokio::test]
async fn mutual_tls_serves_only_clients_of_the_authority_that_the_file_names_now() {
    let (first, second) = (Authority::new(), Authority::new());
    let secret = Secret::new(&first.issue(2040), &first);
    let repository = Repository::of(&["dense_1"]);
    let flags = [secret.flags("http", true), secret.flags("grpc", true)].concat();
    let server = start(&repository, &flags).await;
    let (friend, stranger) = (first.issue(2040), second.issue(2040));
    for (identity, welcome) in [(Some(&friend), true), (Some(&stranger), false), (None, false)] {
        let client = trusting(&first, identity, true);
        assert_eq!(get(&client, &server.http, "/v2").await.is_ok(), welcome);
        assert_eq!(get(&client, &server.rest, "/health").await.is_ok(), welcome);
        assert_eq!(grpc(&server, &first, identity).await.is_ok(), welcome);
    }
    // Only the authority of clients changes.
    let server_pair = first.issue(2040);
    secret.swap("..2", &server_pair, &second);
    eventually("clients of the second authority to be served", || async {
        grpc(&server, &first, Some(&stranger)).await.is_ok()
    })
    .await;
    assert!(grpc(&server, &first, Some(&friend)).await.is_err());
}

fn refused(repository: &Repository, flags: &[String]) -> String {
    let output: Output = program()
        .args([
            "--model-repository",
            &repository.uri(),
            "--http-port=0",
            "--grpc-port=0",
        ])
        .args(["--rest-port=0", "--metrics-port=0"])
        .args(flags)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said_at_the_start_with_flag_file_and_remedy() {
    let authority = Authority::new();
    let pair = authority.issue(2040);
    let repository = Repository::new();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let certificate = write("tls.crt", &pair.certificate);
    let key = write("tls.key", &pair.key);
    let encrypted = write(
        "encrypted.key",
        &pair.key.replace("BEGIN PRIVATE", "BEGIN ENCRYPTED PRIVATE"),
    );
    let other = write("other.key", &authority.issue(2040).key);
    let text = write("text", "no PEM");
    let cases: [(&str, &str, [&str; 3]); 5] = [
        (
            "/nowhere.crt",
            &key,
            ["--grpc-server-cert", "/nowhere.crt", "cannot be read"],
        ),
        (&text, &key, ["--grpc-server-cert", &text, "holds no certificate"]),
        (
            &certificate,
            &text,
            ["--grpc-server-key", &text, "holds no private key"],
        ),
        (
            &certificate,
            &encrypted,
            ["--grpc-server-key", &encrypted, "openssl pkey -in"],
        ),
        (
            &certificate,
            &other,
            ["--grpc-server-key", &other, "does not belong to"],
        ),
    ];
    for (certificate, key, parts) in cases {
        let flags = [
            "--grpc-use-ssl".to_owned(),
            format!("--grpc-server-cert={certificate}"),
            format!("--grpc-server-key={key}"),
        ];
        let log = refused(&repository, &flags);
        for part in parts {
            assert!(log.contains(part), "{part}: {log}");
        }
    }
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_used_with_a_warning() {
    let authority = Authority::new();
    let secret = Secret::new(&authority.issue(2020), &authority);
    let server = start(&Repository::of(&["dense_1"]), &secret.flags("grpc", false)).await;
    assert!(
        server.log().contains("--grpc-server-cert: the certificate in"),
        "{}",
        server.log()
    );
    assert!(grpc(&server, &authority, None).await.is_err());
}
