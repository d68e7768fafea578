//! What only HTTP can get wrong: its JSON, its headers, its bodies.

use super::bodies::{encodings, lengths};
use super::documents::documents;
use super::elements::elements;
use super::{Table, http_error};
use crate::support::{Repository, Server, client};

pub(super) const LENGTH: &str = "Inference-Header-Content-Length";
pub(super) const SIXTY_FOUR_MEBIBYTES: usize = 64 << 20;

pub(super) type Headers = &'static [(&'static str, &'static str)];

pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) model: &'static str,
    pub(super) headers: Headers,
    pub(super) body: Vec<u8>,
    pub(super) status: u16,
    pub(super) says: &'static str,
}

pub(super) fn row(name: &'static str, body: impl Into<Vec<u8>>, says: &'static str) -> Row {
    Row {
        name,
        model: "dense_1",
        headers: &[],
        body: body.into(),
        status: 400,
        says,
    }
}

pub(super) fn headed(
    name: &'static str,
    headers: Headers,
    body: impl Into<Vec<u8>>,
    says: &'static str,
) -> Row {
    Row {
        headers,
        ..row(name, body, says)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_headers_that_are_wrong_are_refused_in_one_sentence() {
    let repository = Repository::of(&["dense_1", "ratio", "every_datatype"]);
    let server = Server::start(&repository.uri(), &[]).await;
    let mut table = Table::of(&server);
    for row in elements()
        .into_iter()
        .chain(documents())
        .chain(lengths())
        .chain(encodings())
    {
        let url = format!("{}/v2/models/{}/infer", server.http, row.model);
        let request = client().post(url).body(row.body);
        let request = row
            .headers
            .iter()
            .fold(request, |request, (name, value)| request.header(*name, *value));
        let got = http_error(request.send().await.unwrap()).await;
        table.row(row.name, got, (row.status, row.says)).await;
    }
    table.end();
}
