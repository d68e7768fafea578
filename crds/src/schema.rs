//! What every CustomResourceDefinition gets besides its derived schema, and the rules that all schemas keep (tests).

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};

/// Drops the integer formats that the API server does not know and would warn of, and nothing else.
pub fn finish(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        if let Some(schema) = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
        {
            walk(schema, &mut |node| {
                if node
                    .format
                    .as_deref()
                    .is_some_and(|format| format.starts_with("uint"))
                {
                    node.format = None;
                }
            });
        }
    }
    crd
}

/// An inlined enum's own description would take the place of the field's, which says more: what it means there.
pub fn leave_description_to_the_field(schema: &mut schemars::Schema) {
    schema.remove("description");
}

/// Calls `visit` on `schema` and on every schema below it.
fn walk(schema: &mut JSONSchemaProps, visit: &mut impl FnMut(&mut JSONSchemaProps)) {
    visit(schema);
    for property in schema
        .properties
        .iter_mut()
        .flat_map(|properties| properties.values_mut())
    {
        walk(property, visit);
    }
    match schema.items.as_mut() {
        Some(JSONSchemaPropsOrArray::Schema(items)) => walk(items, visit),
        Some(JSONSchemaPropsOrArray::Schemas(schemas)) => {
            schemas.iter_mut().for_each(|items| walk(items, visit));
        }
        None => {}
    }
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaPropsOrBool;
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = schema.additional_properties.as_mut() {
        walk(values, visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::all_crds;

    /// Every schema node below `spec` and `status`, with its path.
    fn nodes() -> Vec<(String, JSONSchemaProps)> {
        fn collect(path: &str, schema: &JSONSchemaProps, into: &mut Vec<(String, JSONSchemaProps)>) {
            into.push((path.to_owned(), schema.clone()));
            for (name, property) in schema.properties.iter().flatten() {
                collect(&format!("{path}.{name}"), property, into);
            }
            if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
                collect(&format!("{path}[]"), items, into);
            }
            use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaPropsOrBool;
            if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
                collect(&format!("{path}{{}}"), values, into);
            }
        }
        let mut found = Vec::new();
        for crd in all_crds() {
            let schema = crd.spec.versions[0]
                .schema
                .clone()
                .unwrap()
                .open_api_v3_schema
                .unwrap();
            for (name, property) in schema.properties.unwrap() {
                if name == "spec" || name == "status" {
                    collect(&format!("{}.{name}", crd.spec.names.kind), &property, &mut found);
                }
            }
        }
        found
    }

    fn offending(rule: impl Fn(&str, &JSONSchemaProps) -> bool) -> Vec<String> {
        nodes()
            .into_iter()
            .filter(|(path, node)| !rule(path, node))
            .map(|(path, _)| path)
            .collect()
    }

    #[test]
    fn every_list_has_a_list_type_and_a_bound() {
        let bad = offending(|_, node| {
            node.type_.as_deref() != Some("array")
                || (node.x_kubernetes_list_type.is_some() && node.max_items.is_some())
        });
        assert_eq!(bad, Vec::<String>::new());
    }

    #[test]
    fn every_string_is_bounded() {
        let bad = offending(|_, node| {
            node.type_.as_deref() != Some("string")
                || node.max_length.is_some()
                || node.enum_.is_some()
                || node.format.is_some()
        });
        assert_eq!(bad, Vec::<String>::new());
    }

    #[test]
    fn every_map_is_bounded() {
        let bad = offending(|_, node| node.additional_properties.is_none() || node.max_properties.is_some());
        assert_eq!(bad, Vec::<String>::new());
    }

    #[test]
    fn every_field_says_what_it_is() {
        let bad = offending(|path, node| {
            path.ends_with("[]")
                || path.ends_with("{}")
                || node.description.as_ref().is_some_and(|text| text.len() > 10)
        });
        assert_eq!(bad, Vec::<String>::new());
    }

    #[test]
    fn an_enum_is_described_by_its_field() {
        let text = nodes()
            .into_iter()
            .find(|(path, _)| path == "ModelVersion.spec.stage")
            .unwrap()
            .1
            .description;
        assert!(
            text.as_deref().is_some_and(|text| text.contains("Default: None")),
            "{text:?}"
        );
    }

    #[test]
    fn the_server_fills_in_no_defaults_that_argo_cd_would_see_as_drift() {
        assert_eq!(offending(|_, node| node.default.is_none()), Vec::<String>::new());
    }

    #[test]
    fn every_rule_says_what_to_write_instead() {
        for crd in all_crds() {
            let mut schema = crd.spec.versions[0]
                .schema
                .clone()
                .unwrap()
                .open_api_v3_schema
                .unwrap();
            walk(&mut schema, &mut |node| {
                for rule in node.x_kubernetes_validations.iter().flatten() {
                    let message = rule.message.as_deref().unwrap_or_default();
                    assert!(
                        message.len() > 20,
                        "{}: {} has no message",
                        crd.spec.names.kind,
                        rule.rule
                    );
                }
            });
        }
    }

    /// The operator asks the API server for the object by this name: a `/` or a `?` in it would ask for something else.
    #[test]
    fn a_name_of_another_object_can_only_be_a_name() {
        let found: Vec<Option<String>> = nodes()
            .into_iter()
            .filter(|(path, _)| {
                [
                    "ModelVersion.spec.source.experiment",
                    "InferenceService.spec.models[].version.ref",
                    "Experiment.spec.register.name",
                ]
                .contains(&path.as_str())
            })
            .map(|(_, node)| node.pattern)
            .collect();
        let name = Some("^[a-z]([-a-z0-9]*[a-z0-9])?$".to_owned());
        assert_eq!(found, [name.clone(), name.clone(), name]);
    }

    #[test]
    fn every_kind_has_short_name_category_columns_and_a_status() {
        for crd in all_crds() {
            let names = &crd.spec.names;
            assert!(
                names.short_names.as_ref().is_some_and(|names| !names.is_empty()),
                "{}",
                names.kind
            );
            assert_eq!(names.categories.as_deref(), Some(&["aiops".to_owned()][..]));
            let version = &crd.spec.versions[0];
            assert!(
                version
                    .subresources
                    .as_ref()
                    .is_some_and(|subresources| subresources.status.is_some())
            );
            let columns = version.additional_printer_columns.as_ref().unwrap();
            assert!(columns.iter().any(|column| column.name == "Ready"));
            assert_eq!(
                columns
                    .iter()
                    .rfind(|column| column.priority.unwrap_or(0) == 0)
                    .unwrap()
                    .name,
                "Age"
            );
        }
    }
}
