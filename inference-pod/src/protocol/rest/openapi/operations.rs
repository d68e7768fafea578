//! Paths of the document, and what can come back from each.

use serde_json::{Map, Value, json};

use super::{reference, schemas, segment};
use crate::models::ModelVersion;
use crate::protocol::rest::PREDICT;
use crate::protocol::version;

const FORMS: &str = "`inputs` may stand for `instances`, as in KServe's and TensorFlow Serving's protocols: a list of \
    rows, or an object with a list of values for each field, all equally long. Bodies may be compressed \
    (`Content-Encoding: gzip` or `deflate`).";

/// The versions that may answer an operation.
pub(super) struct Versions<'a> {
    pub(super) numbers: &'a [u64],
    /// Starts of the names of their schemas.
    pub(super) components: &'a [String],
}

impl Versions<'_> {
    /// The header that names one of them. A text, as headers are: schemathesis takes a number in one for something else.
    fn pin(&self) -> Value {
        let numbers: Vec<_> = self.numbers.iter().map(u64::to_string).collect();
        json!({
            "name": version::HEADER.as_str(),
            "in": "header",
            "required": false,
            "description": "The version that is to answer, as if the path named it",
            "schema": {"type": "string", "enum": numbers},
        })
    }

    fn predictions(&self) -> Value {
        let schema = |component: &String| reference(&format!("{component}Predictions"));
        match self.components {
            [only] => schema(only),
            all => json!({"oneOf": all.iter().map(schema).collect::<Vec<_>>()}),
        }
    }
}

/// What has nothing to do with a particular model.
pub(super) fn of_server(paths: &mut Map<String, Value>) {
    let mut get = |path: &str, id: &str, summary: &str, responses: Value| {
        let operation = operation(id, "server", summary, responses);
        paths.insert(path.to_owned(), json!({"get": operation}));
    };
    get(
        "/v1/models",
        "listModels",
        "Names of the models that answer",
        json!({"200": answer("Names", &reference("Models"))}),
    );
    for (path, id) in [
        ("/health", "health"),
        ("/health/ready", "healthReady"),
        ("/readyz", "readyz"),
    ] {
        let responses = json!({
            "200": answer("It answers requests", &reference("Health")),
            "503": {
                "description": "It loads its first models, or it ends",
                "headers": headers(true),
                "content": content(&reference("Health")),
            },
        });
        get(path, id, "Whether the server wants requests", responses);
    }
    for (path, id) in [
        ("/health/live", "healthLive"),
        ("/healthz", "healthz"),
        ("/livez", "livez"),
    ] {
        get(
            path,
            id,
            "Whether the server lives",
            json!({"200": answer("It lives", &reference("Health"))}),
        );
    }
    let document = json!({"200": answer("This document", &json!({"type": "object"})), "304": not_modified()});
    get("/openapi.json", "openapi", "This document", document);
}

/// A model by its name alone.
pub(super) fn of_model(
    paths: &mut Map<String, Value>,
    model: &ModelVersion,
    component: &str,
    versions: &Versions<'_>,
) {
    let name = segment(&model.name);
    describe(
        paths,
        &format!("/v1/models/{name}"),
        model,
        versions,
        &format!("describe.{}", model.name),
        "",
    );
    let of = format!("predict.{}", model.name);
    predict(
        paths,
        &format!("/v1/models/{name}{PREDICT}"),
        model,
        component,
        versions,
        &of,
        "",
    );
    let of = format!("predictByPath.{}", model.name);
    predict(
        paths,
        &format!("/predict/{name}"),
        model,
        component,
        versions,
        &of,
        " (a shorter path for the same)",
    );
}

/// One version of a model.
pub(super) fn of_version(paths: &mut Map<String, Value>, model: &ModelVersion, component: &str) {
    let version = model.version;
    let path = format!("/v1/models/{}/versions/{version}", segment(&model.name));
    let words = format!(" (version {version} alone)");
    let of = format!("{}.versions.{version}", model.name);
    let versions = Versions {
        numbers: &[version],
        components: &[component.to_owned()],
    };
    describe(paths, &path, model, &versions, &format!("describe.{of}"), &words);
    predict(
        paths,
        &format!("{path}{PREDICT}"),
        model,
        component,
        &versions,
        &format!("predict.{of}"),
        &words,
    );
}

fn describe(
    paths: &mut Map<String, Value>,
    path: &str,
    model: &ModelVersion,
    versions: &Versions<'_>,
    id: &str,
    words: &str,
) {
    let mut responses = json!({"200": answer("The model", &reference("Model"))});
    add_errors(&mut responses, &[400, 404, 503]);
    let summary = format!("What {} takes and answers{words}", model.name);
    let mut operation = operation(id, &model.name, &summary, responses);
    add_parameter(&mut operation, versions.pin());
    paths.insert(path.to_owned(), json!({"get": operation}));
}

fn predict(
    paths: &mut Map<String, Value>,
    path: &str,
    model: &ModelVersion,
    component: &str,
    versions: &Versions<'_>,
    id: &str,
    words: &str,
) {
    let summary = format!("Predictions of {} for rows{words}", model.name);
    let mut responses =
        json!({"200": answer("One prediction for each row, in order", &versions.predictions())});
    add_errors(&mut responses, &[400, 404, 408, 413, 415, 500, 503]);
    let mut operation = operation(id, &model.name, &summary, responses);
    add_parameter(&mut operation, versions.pin());
    operation["requestBody"] = json!({
        "required": true,
        "description": FORMS,
        "content": {"application/json": {
            "schema": reference(&format!("{component}Rows")),
            "example": {"instances": [schemas::example_row(model)]},
        }},
    });
    paths.insert(path.to_owned(), json!({"post": operation}));
}

fn operation(id: &str, tag: &str, summary: &str, responses: Value) -> Value {
    json!({
        "operationId": id,
        "tags": [tag],
        "summary": summary,
        "parameters": [{"$ref": "#/components/parameters/RequestId"}],
        "responses": responses,
    })
}

fn add_parameter(operation: &mut Value, parameter: Value) {
    if let Some(parameters) = operation["parameters"].as_array_mut() {
        parameters.push(parameter);
    }
}

fn add_errors(responses: &mut Value, statuses: &[u16]) {
    for status in statuses {
        let (description, schema) = match status {
            400 => (
                "The request is wrong; `errors` lists what is wrong with its rows",
                "Error",
            ),
            404 => ("The model or the version is not there (any more)", "Error"),
            408 => ("The body did not come in time", "Error"),
            413 => ("The body is larger than this server takes", "Error"),
            415 => ("The body is not JSON, or compressed in an unknown way", "Error"),
            503 => ("Overloaded, loading or ending: send it again", "Error"),
            _ => ("The model failed", "Error"),
        };
        responses[status.to_string()] = json!({
            "description": description,
            "headers": headers(*status == 503),
            "content": content(&reference(schema)),
        });
    }
}

fn answer(description: &str, schema: &Value) -> Value {
    json!({"description": description, "headers": headers(false), "content": content(schema)})
}

fn not_modified() -> Value {
    json!({"description": "The same as the one with the entity tag of If-None-Match", "headers": headers(false)})
}

fn headers(is_transient: bool) -> Value {
    let mut headers = json!({"X-Request-Id": {"$ref": "#/components/headers/RequestId"}});
    if is_transient {
        headers["Retry-After"] = json!({"$ref": "#/components/headers/RetryAfter"});
    }
    headers
}

fn content(schema: &Value) -> Value {
    json!({"application/json": {"schema": schema}})
}
