//! Bodies without a server around them.

use std::sync::Arc;

use super::*;
use crate::configuration::read;
use crate::memory::Budget;
use crate::protocol::SharedMemory;

fn refusal(model: &str, body: &'static [u8], json_length: Option<usize>) -> String {
    let access = Access {
        shared: Arc::new(SharedMemory::new(false)),
        memory: Arc::new(Budget::of(None).reserve(1)),
    };
    let decoded = decode(
        &read(model).unwrap(),
        &Bytes::from_static(body),
        json_length,
        &access,
    );
    decoded.map(|_| ()).unwrap_err().message
}

#[test]
fn a_raw_body_for_sizes_whose_product_cannot_be_counted_is_refused() {
    for (dims, shape) in [
        ("4294967296, 4294967296", "[4294967296, 4294967296]"),
        ("-1, 9223372036854775807, 3", "[0, 9223372036854775807, 3]"),
    ] {
        let model = format!("name: 'm' input {{ name: 'x' data_type: TYPE_INT8 dims: [ {dims} ] }}");
        assert_eq!(
            refusal(&model, b"\x01\x02", Some(0)),
            format!("shape {shape} of tensor 'x' is too large")
        );
    }
}
