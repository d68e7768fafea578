//! Text that a container gets exactly as it is written. The kubelet expands `$(NAME)` in arguments and in the values of variables,
//! so that text of a user could otherwise ask for the credentials beside it.
//! <https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/>

use k8s_openapi::api::core::v1::EnvVar;

/// `text`, so that the kubelet makes it `text` again: of `$$` it takes one `$`, and looks no further.
fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

/// A variable with this value.
#[must_use]
pub fn variable(name: &str, value: impl AsRef<str>) -> EnvVar {
    EnvVar {
        name: name.into(),
        value: Some(literal(value.as_ref())),
        ..EnvVar::default()
    }
}

/// These arguments.
#[must_use]
pub fn arguments(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|argument| literal(argument)).collect()
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the kubelet makes of a text where every `$(NAME)` stands for `secret`, as in
    /// <https://github.com/kubernetes/kubernetes/blob/master/third_party/forked/golang/expansion/expand.go>.
    pub fn expanded(text: &str) -> String {
        let mut rest = text;
        let mut made = String::new();
        while let Some(at) = rest.find('$') {
            made.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            rest = if let Some(after) = after.strip_prefix('$') {
                made.push('$');
                after
            } else if let Some((_, after)) = after.strip_prefix('(').and_then(|name| name.split_once(')')) {
                made.push_str("secret");
                after
            } else {
                made.push('$');
                after
            };
        }
        made + rest
    }

    #[test]
    fn a_reference_to_a_variable_stays_text() {
        let text = "s3://datasets/$(AWS_SECRET_ACCESS_KEY).onnx";
        assert_eq!(expanded(text), "s3://datasets/secret.onnx");
        assert_eq!(expanded(&arguments(&[text])[0]), text);
        assert_eq!(expanded(&variable("A", "price$$").value.unwrap()), "price$$");
    }

    proptest! {
        #[test]
        fn any_text_arrives_as_it_is(text in "[$()a]{0,12}") {
            prop_assert_eq!(expanded(&literal(&text)), text);
        }
    }
}
