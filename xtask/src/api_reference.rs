//! The API reference: for each kind its columns, its fields with type, limits and default, its rules and its conditions.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use aiops_crds::{
    ExperimentCondition, ExperimentReason, InferenceServiceCondition, InferenceServiceReason,
    ModelVersionCondition, ModelVersionReason,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, JSONSchemaProps,
};

use crate::markdown::{code, link, table, text};
use crate::schema::{Shape, description_and_default, limits, rule_messages, shape, type_name};

/// What the status of a kind may say: names with their meanings.
pub struct Conditions {
    pub types: Vec<(&'static str, &'static str)>,
    pub reasons: Vec<(&'static str, &'static str)>,
}

/// The conditions of each kind, from the enums that the controllers use.
pub fn conditions() -> BTreeMap<&'static str, Conditions> {
    macro_rules! conditions {
        ($types:ty, $reasons:ty) => {
            Conditions {
                types: <$types>::ALL
                    .iter()
                    .map(|name| (name.as_str(), name.meaning()))
                    .collect(),
                reasons: <$reasons>::ALL
                    .iter()
                    .map(|name| (name.as_str(), name.meaning()))
                    .collect(),
            }
        };
    }
    BTreeMap::from([
        ("Experiment", conditions!(ExperimentCondition, ExperimentReason)),
        (
            "ModelVersion",
            conditions!(ModelVersionCondition, ModelVersionReason),
        ),
        (
            "InferenceService",
            conditions!(InferenceServiceCondition, InferenceServiceReason),
        ),
    ])
}

/// The whole document.
pub fn document(
    crds: &[CustomResourceDefinition],
    conditions: &BTreeMap<&'static str, Conditions>,
) -> String {
    let mut document = String::from(
        "<!-- Generated from the crate aiops-crds by `cargo xtask generate`; a change belongs there. -->\n\n\
         # API reference\n\n\
         The custom resources of AI Ops. `kubectl explain KIND.FIELD` tells the same on a cluster. A default is what the\n\
         operator takes where the field is absent; it is not written into the object.\n\n",
    );
    for crd in crds {
        let kind = &crd.spec.names.kind;
        let _ = writeln!(document, "- {}", link(kind, kind));
    }
    for crd in crds {
        for version in &crd.spec.versions {
            document.push('\n');
            document.push_str(&kind_section(
                crd,
                version,
                conditions.get(crd.spec.names.kind.as_str()),
            ));
        }
    }
    document
}

fn kind_section(
    crd: &CustomResourceDefinition,
    version: &CustomResourceDefinitionVersion,
    conditions: Option<&Conditions>,
) -> String {
    let names = &crd.spec.names;
    let kind = &names.kind;
    let mut section = format!("## {kind}\n\n");
    let Some(schema) = version
        .schema
        .as_ref()
        .and_then(|schema| schema.open_api_v3_schema.as_ref())
    else {
        return section;
    };
    let _ = writeln!(
        section,
        "{}\n",
        text(schema.description.as_deref().unwrap_or_default())
    );
    section.push_str(&table(&["", ""], &facts(crd, version)));
    push_rules(&mut section, &rules_below("", schema));
    push_columns(&mut section, version);
    for part in ["spec", "status"] {
        if let Some(schema) = schema
            .properties
            .as_ref()
            .and_then(|properties| properties.get(part))
        {
            push_objects(&mut section, kind, part, schema);
        }
    }
    if let Some(conditions) = conditions {
        push_conditions(&mut section, kind, conditions);
    }
    section
}

/// How the kind is named and reached.
fn facts(crd: &CustomResourceDefinition, version: &CustomResourceDefinitionVersion) -> Vec<Vec<String>> {
    let names = &crd.spec.names;
    let list = |names: &Option<Vec<String>>| {
        names
            .iter()
            .flatten()
            .map(|name| code(name))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut facts = vec![
        vec![
            "apiVersion".to_owned(),
            code(&format!("{}/{}", crd.spec.group, version.name)),
        ],
        vec!["kind".to_owned(), code(&names.kind)],
        vec!["scope".to_owned(), crd.spec.scope.to_lowercase()],
        vec![
            "names for kubectl".to_owned(),
            format!("{}, {}", code(&names.plural), list(&names.short_names)),
        ],
        vec!["category".to_owned(), list(&names.categories)],
    ];
    if let Some(scale) = version
        .subresources
        .as_ref()
        .and_then(|subresources| subresources.scale.as_ref())
    {
        let replicas = code(scale.spec_replicas_path.trim_start_matches('.'));
        facts.push(vec!["`kubectl scale`".to_owned(), format!("sets {replicas}")]);
    }
    facts
}

fn push_columns(section: &mut String, version: &CustomResourceDefinitionVersion) {
    let rows: Vec<Vec<String>> = version
        .additional_printer_columns
        .iter()
        .flatten()
        .map(|column| {
            let shown = if column.priority.unwrap_or(0) == 0 {
                "always"
            } else {
                "with `-o wide`"
            };
            let description = text(column.description.as_deref().unwrap_or_default());
            vec![
                column.name.clone(),
                code(column.json_path.trim_start_matches('.')),
                shown.to_owned(),
                description,
            ]
        })
        .collect();
    if !rows.is_empty() {
        section.push_str("\nColumns of `kubectl get`:\n\n");
        section.push_str(&table(&["column", "shows", "shown", ""], &rows));
    }
}

/// A table of the fields of `schema`, followed by one for each object in them.
fn push_objects(section: &mut String, kind: &str, path: &str, schema: &JSONSchemaProps) {
    let _ = writeln!(section, "\n### {}\n", heading(kind, path));
    let (description, _) = description_and_default(schema);
    if !description.is_empty() {
        let _ = writeln!(section, "{}\n", text(&description));
    }
    let fields = ordered_fields(schema);
    let rows: Vec<Vec<String>> = fields.iter().map(|field| row(kind, path, field)).collect();
    section.push_str(&table(
        &["field", "type", "required", "default", "description"],
        &rows,
    ));
    push_rules(section, &rules_below(path, schema));
    for field in fields {
        if let Shape::Object(object, brackets) = shape(field.schema) {
            push_objects(section, kind, &format!("{path}.{}{brackets}", field.name), object);
        }
    }
}

struct Field<'schema> {
    name: &'schema str,
    schema: &'schema JSONSchemaProps,
    required: bool,
}

/// Required fields first, each group by name.
fn ordered_fields(schema: &JSONSchemaProps) -> Vec<Field<'_>> {
    let mut fields: Vec<Field<'_>> = schema
        .properties
        .iter()
        .flatten()
        .map(|(name, field)| Field {
            name,
            schema: field,
            required: schema
                .required
                .as_ref()
                .is_some_and(|required| required.contains(name)),
        })
        .collect();
    fields.sort_by_key(|field| (!field.required, field.name));
    fields
}

fn row(kind: &str, path: &str, field: &Field<'_>) -> Vec<String> {
    let (description, default) = description_and_default(field.schema);
    let type_ = match shape(field.schema) {
        Shape::Object(_, brackets) => link(
            &type_name(field.schema),
            &heading(kind, &format!("{path}.{}{brackets}", field.name)),
        ),
        Shape::Leaf => type_name(field.schema),
    };
    let mut words = text(&description);
    let limits = limits(field.schema);
    if !limits.is_empty() {
        let _ = write!(words, "<br>*{}*", limits.join("; "));
    }
    let required = if field.required { "yes" } else { "" };
    vec![
        code(field.name),
        type_,
        required.to_owned(),
        text(&default.unwrap_or_default()),
        words,
    ]
}

/// Rules of an object itself and of those of its fields that have no table of their own: path and message.
fn rules_below(path: &str, schema: &JSONSchemaProps) -> Vec<(String, String)> {
    let of = |path: &str, schema: &JSONSchemaProps| -> Vec<(String, String)> {
        rule_messages(schema)
            .into_iter()
            .map(|message| (path.to_owned(), message))
            .collect()
    };
    let mut rules = of(path, schema);
    // The root's fields are spec and status, whose tables list their rules.
    for (name, field) in schema.properties.iter().flatten().filter(|_| !path.is_empty()) {
        // An object's own rules are listed below its own table; a list's or a map's are not its entries'.
        if !matches!(shape(field), Shape::Object(_, brackets) if brackets.is_empty()) {
            rules.extend(of(&format!("{path}.{name}"), field));
        }
    }
    rules
}

fn push_rules(section: &mut String, rules: &[(String, String)]) {
    if rules.is_empty() {
        return;
    }
    section.push_str("\nRules:\n\n");
    for (path, message) in rules {
        if path.is_empty() {
            let _ = writeln!(section, "- {message}");
        } else {
            let _ = writeln!(section, "- {}: {message}", code(path));
        }
    }
}

fn push_conditions(section: &mut String, kind: &str, conditions: &Conditions) {
    let rows = |names: &[(&str, &str)]| -> Vec<Vec<String>> {
        names
            .iter()
            .map(|(name, meaning)| vec![code(name), text(meaning)])
            .collect()
    };
    let _ = writeln!(section, "\n### {kind}: conditions\n");
    section.push_str(&table(&["type", "true when"], &rows(&conditions.types)));
    let _ = writeln!(section, "\n### {kind}: reasons\n");
    section.push_str(&table(&["reason", "meaning"], &rows(&conditions.reasons)));
}

fn heading(kind: &str, path: &str) -> String {
    format!("{kind}: {path}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::markdown::anchor;

    fn reference() -> String {
        let crd: CustomResourceDefinition = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "things.aiops.dev" },
            "spec": {
                "group": "aiops.dev", "scope": "Namespaced",
                "names": { "kind": "Thing", "plural": "things", "shortNames": ["th"], "categories": ["aiops"] },
                "versions": [{
                    "name": "v1", "served": true, "storage": true,
                    "additionalPrinterColumns": [
                        { "name": "Size", "type": "string", "jsonPath": ".spec.size", "priority": 1 }
                    ],
                    "schema": { "openAPIV3Schema": {
                        "type": "object", "description": "A thing.",
                        "x-kubernetes-validations": [{ "rule": "true", "message": "use a short name" }],
                        "properties": { "spec": {
                            "type": "object", "description": "What is wanted.", "required": ["size"],
                            "x-kubernetes-validations": [{ "rule": "true", "message": "spec must make sense" }],
                            "properties": {
                                "colour": { "type": "string", "description": "In words. Default: red.", "maxLength": 9 },
                                "size": {
                                    "type": "string", "description": "How large.",
                                    "x-kubernetes-validations": [{ "rule": "self == oldSelf", "message": "immutable" }]
                                },
                                "parts": { "type": "array", "description": "Its parts.", "items": {
                                    "type": "object", "description": "A part.",
                                    "x-kubernetes-validations": [{ "rule": "true", "message": "one part" }],
                                    "properties": { "name": { "type": "string", "description": "Name." } }
                                }}
                            }
                        }}
                    }}
                }]
            }
        }))
        .unwrap();
        let conditions = Conditions {
            types: vec![("Ready", "It is done.")],
            reasons: vec![("Done", "Done.")],
        };
        document(&[crd], &BTreeMap::from([("Thing", conditions)]))
    }

    #[test]
    fn a_field_has_type_requirement_default_limits_and_description() {
        let reference = reference();
        for line in [
            "| `size` | string | yes |  | How large. |",
            "| `colour` | string |  | red | In words.<br>*at most 9 characters* |",
            "| `parts` | [list of object](#thing-specparts) |  |  | Its parts. |",
            "| `name` | string |  |  | Name. |",
            "| Size | `spec.size` | with `-o wide` |  |",
            "| names for kubectl | `things`, `th` |",
            "| `Ready` | It is done. |",
            "| `Done` | Done. |",
        ] {
            assert!(
                reference.lines().any(|present| present == line),
                "{line}\n{reference}"
            );
        }
    }

    #[test]
    fn every_rule_is_told_once_where_it_applies() {
        let reference = reference();
        for line in [
            "- use a short name",
            "- `spec`: spec must make sense",
            "- `spec.size`: immutable",
            "- `spec.parts[]`: one part",
        ] {
            assert_eq!(
                reference.lines().filter(|present| *present == line).count(),
                1,
                "{line}\n{reference}"
            );
        }
    }

    #[test]
    fn every_link_leads_to_one_heading_of_the_real_reference() {
        let reference = document(&aiops_crds::all_crds(), &conditions());
        let headings: Vec<String> = reference
            .lines()
            .filter(|line| line.starts_with('#'))
            .map(|line| anchor(line.trim_matches(['#', ' '])))
            .collect();
        let unique: BTreeSet<&String> = headings.iter().collect();
        assert_eq!(unique.len(), headings.len(), "two headings have the same anchor");
        let links: Vec<&str> = reference
            .split("](#")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'))
            .map(|(link, _)| link)
            .collect();
        assert!(links.len() > 10, "{links:?}");
        for link in links {
            assert!(unique.contains(&link.to_owned()), "{link}");
        }
    }

    #[test]
    fn the_real_reference_describes_every_kind_and_condition() {
        let reference = document(&aiops_crds::all_crds(), &conditions());
        for crd in aiops_crds::all_crds() {
            let kind = crd.spec.names.kind;
            for part in ["spec", "status", "conditions", "reasons"] {
                assert!(
                    reference.contains(&format!("\n### {kind}: {part}\n")),
                    "{kind} {part}"
                );
            }
        }
        assert!(reference.contains("| `MetricMissing` | "));
        assert!(
            !reference.contains("Default: "),
            "a default was left in a description"
        );
    }
}
