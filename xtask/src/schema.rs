//! What an OpenAPI schema says about a field, in words: its type, its limits, its default, its rules.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use crate::markdown::{code, text};

/// Marks the sentence of a description that names the default. The schemas have no defaults themselves: the API server
/// would write them into objects, and GitOps tools would take that for drift.
const DEFAULT_MARK: &str = "Default: ";

/// What values of a schema are made of, looked through lists and maps.
pub enum Shape<'schema> {
    /// An object with fields of its own, and how many lists and maps stand around it: `[]`, `{}` in their order.
    Object(&'schema JSONSchemaProps, String),
    /// Anything else.
    Leaf,
}

/// Looks through lists and maps for an object with fields.
pub fn shape(schema: &JSONSchemaProps) -> Shape<'_> {
    let (inner, brackets) = match (items(schema), values(schema)) {
        (Some(items), _) => (items, "[]"),
        (None, Some(values)) => (values, "{}"),
        (None, None) if schema.properties.is_some() => return Shape::Object(schema, String::new()),
        (None, None) => return Shape::Leaf,
    };
    match shape(inner) {
        Shape::Object(object, rest) => Shape::Object(object, format!("{brackets}{rest}")),
        Shape::Leaf => Shape::Leaf,
    }
}

/// The type of a field: `list of string`, `map to integer or string`, `object`.
pub fn type_name(schema: &JSONSchemaProps) -> String {
    if schema.x_kubernetes_int_or_string == Some(true) {
        return "integer or string".to_owned();
    }
    if let Some(items) = items(schema) {
        return format!("list of {}", type_name(items));
    }
    if let Some(values) = values(schema) {
        return format!("map to {}", type_name(values));
    }
    match (schema.type_.as_deref(), schema.format.as_deref()) {
        (Some("string"), Some("date-time")) => "time (RFC 3339)".to_owned(),
        (Some(type_), _) => type_.to_owned(),
        (None, _) => "any".to_owned(),
    }
}

/// The description without the sentence that names the default, and the default.
pub fn description_and_default(schema: &JSONSchemaProps) -> (String, Option<String>) {
    let description = schema.description.as_deref().unwrap_or_default().trim();
    let described = description.split_once(DEFAULT_MARK).map(|(before, after)| {
        let (default, rest) = after
            .split_once(". ")
            .unwrap_or((after.strip_suffix('.').unwrap_or(after), ""));
        (
            format!("{} {rest}", before.trim_end()).trim().to_owned(),
            default.to_owned(),
        )
    });
    let of_schema = schema.default.as_ref().map(|JSON(value)| value.to_string());
    match described {
        Some((description, default)) => (description, of_schema.or(Some(default))),
        None => (description.to_owned(), of_schema),
    }
}

/// What a value must keep besides its type, as Markdown: `one of …`, lengths, ranges, patterns.
pub fn limits(schema: &JSONSchemaProps) -> Vec<String> {
    let mut limits = own_limits(schema);
    if let Some(inner) = items(schema).or_else(|| values(schema)) {
        limits.extend(own_limits(inner).into_iter().map(|limit| format!("each {limit}")));
    }
    limits
}

fn own_limits(schema: &JSONSchemaProps) -> Vec<String> {
    let mut limits = Vec::new();
    if let Some(allowed) = &schema.enum_ {
        let names: Vec<String> = allowed
            .iter()
            .filter(|JSON(value)| !value.is_null())
            .map(|JSON(value)| {
                code(
                    value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned)
                        .as_str(),
                )
            })
            .collect();
        limits.push(format!("one of {}", names.join(", ")));
    }
    let lengths =
        |least: Option<i64>, most: Option<i64>, of: &str| match (least.filter(|least| *least > 0), most) {
            (None, None) => None,
            (Some(least), None) => Some(format!("at least {least} {of}")),
            (None, Some(most)) => Some(format!("at most {most} {of}")),
            (Some(least), Some(most)) => Some(format!("{least} to {most} {of}")),
        };
    limits.extend(lengths(schema.min_length, schema.max_length, "characters"));
    limits.extend(lengths(schema.min_items, schema.max_items, "entries"));
    limits.extend(lengths(schema.min_properties, schema.max_properties, "entries"));
    match (schema.minimum, schema.maximum) {
        (None, None) => {}
        (Some(least), None) => limits.push(format!("at least {least}")),
        (None, Some(most)) => limits.push(format!("at most {most}")),
        (Some(least), Some(most)) => limits.push(format!("{least} to {most}")),
    }
    if let Some(pattern) = &schema.pattern {
        limits.push(format!("matches {}", code(pattern)));
    }
    if let Some(keys) = schema
        .x_kubernetes_list_map_keys
        .as_ref()
        .filter(|keys| !keys.is_empty())
    {
        let keys: Vec<String> = keys.iter().map(|key| code(key)).collect();
        limits.push(format!("no two with the same {}", keys.join(" and ")));
    }
    limits
}

/// What the API server says where a rule of the schema is broken, as Markdown; the rule itself where it says nothing.
pub fn rule_messages(schema: &JSONSchemaProps) -> Vec<String> {
    schema
        .x_kubernetes_validations
        .iter()
        .flatten()
        .map(|rule| rule.message.as_deref().map_or_else(|| code(&rule.rule), text))
        .collect()
}

fn items(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => Some(items),
        // Kubernetes takes no list whose places have schemas of their own.
        Some(JSONSchemaPropsOrArray::Schemas(_)) | None => None,
    }
}

fn values(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match &schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(values)) => Some(values),
        Some(JSONSchemaPropsOrBool::Bool(_)) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(json: serde_json::Value) -> JSONSchemaProps {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn types_are_named_through_lists_and_maps() {
        let name = |json| type_name(&schema(json));
        assert_eq!(
            name(serde_json::json!({"type": "array", "items": {"type": "string"}})),
            "list of string"
        );
        let quantities = serde_json::json!({
            "type": "object", "additionalProperties": {"x-kubernetes-int-or-string": true}
        });
        assert_eq!(name(quantities), "map to integer or string");
        assert_eq!(
            name(serde_json::json!({"type": "string", "format": "date-time"})),
            "time (RFC 3339)"
        );
        assert_eq!(
            name(serde_json::json!({"type": "integer", "format": "int32"})),
            "integer"
        );
    }

    #[test]
    fn the_default_is_taken_out_of_the_description() {
        let of = |text: &str| description_and_default(&schema(serde_json::json!({ "description": text })));
        let expected = |description: &str, default: &str| (description.to_owned(), Some(default.to_owned()));
        assert_eq!(
            of("A fraction. Default: \"0.25\"."),
            expected("A fraction.", "\"0.25\"")
        );
        assert_eq!(
            of("A number. Default: 1. Excludes `x`."),
            expected("A number. Excludes `x`.", "1")
        );
        assert_eq!(of("No default here."), ("No default here.".to_owned(), None));
        let with_schema = schema(serde_json::json!({ "description": "A number.", "default": 3 }));
        assert_eq!(description_and_default(&with_schema), expected("A number.", "3"));
    }

    #[test]
    fn limits_are_told_in_words() {
        let of = |json| limits(&schema(json)).join("; ");
        assert_eq!(
            of(serde_json::json!({"type": "string", "minLength": 1, "maxLength": 63, "pattern": "^a|b$"})),
            r"1 to 63 characters; matches `^a\|b$`"
        );
        assert_eq!(
            of(serde_json::json!({"type": "integer", "minimum": 0, "maximum": 20})),
            "0 to 20"
        );
        assert_eq!(
            of(serde_json::json!({"type": "string", "enum": ["A", "B", null]})),
            "one of `A`, `B`"
        );
        let list = serde_json::json!({
            "type": "array", "maxItems": 3, "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "string", "maxLength": 5}
        });
        assert_eq!(
            of(list),
            "at most 3 entries; no two with the same `name`; each at most 5 characters"
        );
    }

    #[test]
    fn an_object_is_found_through_lists_and_maps() {
        let list = schema(serde_json::json!({
            "type": "array", "items": {"type": "object", "additionalProperties": {
                "type": "object", "properties": {"a": {"type": "string"}}
            }}
        }));
        match shape(&list) {
            Shape::Object(object, brackets) => {
                assert!(object.properties.as_ref().unwrap().contains_key("a"));
                assert_eq!(brackets, "[]{}");
            }
            Shape::Leaf => panic!("the object was not found"),
        }
        assert!(matches!(
            shape(&schema(serde_json::json!({"type": "string"}))),
            Shape::Leaf
        ));
    }
}
