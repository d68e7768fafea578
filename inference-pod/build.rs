//! Generates the gRPC service from `proto/`, with a compiler written in Rust: nothing has to be installed. The messages
//! of a model's configuration are also written out as tables, against which `config.pbtxt` is checked.

use std::fmt::Write as _;

use protox::prost_reflect::{DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["inference.proto"], ["proto"])?;
    let pool = DescriptorPool::from_file_descriptor_set(descriptors.clone())?;
    let folder = std::env::var("OUT_DIR")?;
    std::fs::write(
        std::path::Path::new(&folder).join("model_config_schema.rs"),
        schema(&pool)?,
    )?;
    tonic_prost_build::configure()
        // Tensors are slices of the received message rather than copies of it.
        .bytes(".inference.ModelInferRequest.raw_input_contents")
        .bytes(".inference.ModelInferResponse.raw_output_contents")
        .bytes(".inference.InferTensorContents.bytes_contents")
        .compile_fds(descriptors)?;
    Ok(())
}

/// `MESSAGES` and `ENUMS`: every message that `ModelConfig` can hold, itself the first.
fn schema(pool: &DescriptorPool) -> Outcome<String> {
    let root = pool
        .get_message_by_name("inference.ModelConfig")
        .ok_or("proto/ has no ModelConfig")?;
    let (mut messages, mut enums) = (vec![root], Vec::new());
    let mut text = String::from("pub(super) static MESSAGES: &[MessageSchema] = &[\n");
    let mut next = 0;
    while let Some(message) = messages.get(next).cloned() {
        next += 1;
        writeln!(
            text,
            "MessageSchema {{ name: {:?}, fields: &[",
            local_name(message.full_name())
        )?;
        for field in message.fields() {
            let kind = kind(&field, &mut messages, &mut enums)?;
            writeln!(
                text,
                "FieldSchema {{ name: {:?}, kind: {kind}, repeated: {}, map: {}, choice: {:?} }},",
                field.name(),
                field.is_list() || field.is_map(),
                field.is_map(),
                field.containing_oneof().map(|choice| choice.name().to_owned()),
            )?;
        }
        text += "] },\n";
    }
    text += "];\npub(super) static ENUMS: &[EnumSchema] = &[\n";
    for choice in enums {
        let values: Vec<_> = choice
            .values()
            .map(|value| (value.name().to_owned(), value.number()))
            .collect();
        writeln!(text, "EnumSchema {{ values: &{values:?} }},")?;
    }
    Ok(text + "];\n")
}

fn kind(
    field: &FieldDescriptor,
    messages: &mut Vec<MessageDescriptor>,
    enums: &mut Vec<EnumDescriptor>,
) -> Outcome<String> {
    Ok(match field.kind() {
        Kind::Message(message) => format!("Kind::Message({})", position(messages, message)),
        Kind::Enum(choice) => format!("Kind::Enum({})", position(enums, choice)),
        Kind::String => "Kind::String".to_owned(),
        Kind::Bool => "Kind::Bool".to_owned(),
        Kind::Int32 => "Kind::Int32".to_owned(),
        Kind::Int64 => "Kind::Int64".to_owned(),
        Kind::Uint32 => "Kind::Uint32".to_owned(),
        Kind::Uint64 => "Kind::Uint64".to_owned(),
        Kind::Float | Kind::Double => "Kind::Real".to_owned(),
        other => {
            return Err(format!("{} has type {other:?}, which the parser lacks", field.full_name()).into());
        }
    })
}

fn position<T: PartialEq>(known: &mut Vec<T>, wanted: T) -> usize {
    known.iter().position(|one| *one == wanted).unwrap_or_else(|| {
        known.push(wanted);
        known.len() - 1
    })
}

fn local_name(full_name: &str) -> &str {
    full_name.strip_prefix("inference.").unwrap_or(full_name)
}
