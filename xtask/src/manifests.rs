//! CustomResourceDefinitions as YAML: as they are for `kubectl apply`, and as templates of the chart aiops-crds.

use anyhow::Context as _;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

const HEADER: &str =
    "# Generated from the crate aiops-crds by `cargo xtask generate`; a change belongs there.\n";

/// Helm keeps the definition when the chart is uninstalled: with it would go every resource of its kind.
const KEEP: (&str, &str) = ("helm.sh/resource-policy", "keep");

/// Name of the file that the definition is in, in both places.
pub fn file_name(crd: &CustomResourceDefinition) -> String {
    format!("{}.yaml", crd.spec.names.plural)
}

/// The definition as `kubectl apply` takes it.
pub fn manifest(crd: &CustomResourceDefinition) -> anyhow::Result<String> {
    let name = crd.metadata.name.as_deref().unwrap_or_default();
    let yaml =
        serde_yaml::to_string(crd).with_context(|| format!("writing the definition {name} as YAML"))?;
    Ok(format!("{HEADER}{yaml}"))
}

/// The definition as a template that Helm renders to the same, kept on uninstall.
pub fn chart_template(mut crd: CustomResourceDefinition) -> anyhow::Result<String> {
    let (key, value) = KEEP;
    crd.metadata
        .annotations
        .get_or_insert_default()
        .insert(key.to_owned(), value.to_owned());
    Ok(escape_actions(&manifest(&crd)?))
}

/// Makes what Helm would take for the start of an action plain text: a description may well show a template.
fn escape_actions(text: &str) -> String {
    text.replace("{{", r#"{{ "{{" }}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition() -> CustomResourceDefinition {
        serde_json::from_value(serde_json::json!({
            "metadata": { "name": "things.aiops.dev" },
            "spec": {
                "group": "aiops.dev",
                "names": { "kind": "Thing", "plural": "things" },
                "scope": "Namespaced",
                "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": {
                    "type": "object", "description": "such as {{ .Release.Name }} or {{{x}}}: a: b"
                }}}],
            }
        }))
        .unwrap()
    }

    #[test]
    fn the_manifest_reads_back_as_the_definition() {
        let text = manifest(&definition()).unwrap();
        assert!(text.starts_with("# Generated"));
        let read: CustomResourceDefinition = serde_yaml::from_str(&text).unwrap();
        assert_eq!(read, definition());
        assert_eq!(file_name(&definition()), "things.yaml");
    }

    #[test]
    fn the_chart_template_is_the_definition_with_the_annotation_that_keeps_it() {
        let text = chart_template(definition()).unwrap();
        // What Helm makes of the only action that is in it.
        let rendered = text.replace(r#"{{ "{{" }}"#, "{{");
        let mut read: CustomResourceDefinition = serde_yaml::from_str(&rendered).unwrap();
        let annotations = read.metadata.annotations.take().unwrap();
        assert_eq!(
            annotations.get("helm.sh/resource-policy").map(String::as_str),
            Some("keep")
        );
        assert_eq!(read, definition());
    }

    #[test]
    fn no_text_of_a_definition_is_an_action_to_helm() {
        let text = chart_template(definition()).unwrap();
        let actions = text.matches("{{").count();
        assert_eq!(text.matches(r#"{{ "{{" }}"#).count() * 2, actions, "{text}");
        assert_eq!(text.matches(r#"{{ "{{" }}"#).count(), 2);
    }
}
