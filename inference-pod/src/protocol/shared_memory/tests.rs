use super::*;
use crate::memory::Budget;

/// An object that is gone when dropped.
struct Object(String);

impl Object {
    fn new(name: &str, content: &[u8]) -> Self {
        let key = format!("aiops-test-{name}-{}", std::process::id());
        std::fs::write(format!("{FOLDER}/{key}"), content).unwrap();
        Self(key)
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(format!("{FOLDER}/{}", self.0));
    }
}

fn access(shared: SharedMemory) -> Access {
    Access {
        shared: Arc::new(shared),
        memory: Arc::new(Budget::of(Some(1000)).reserve(2)),
    }
}

fn input(access: &Access, region: &str, offset: u64, byte_size: u64) -> Result<Option<Bytes>> {
    let parameters = [
        ("shared_memory_region", Parameter::Text(region.to_owned())),
        ("shared_memory_offset", Parameter::Unsigned(offset)),
        ("shared_memory_byte_size", Parameter::Unsigned(byte_size)),
    ];
    access.input("x", parameters.iter().map(|(name, value)| (*name, value)))
}

#[test]
fn keys_that_lead_elsewhere_are_refused() {
    let shared = SharedMemory::new(true);
    let link = Object::new("link", b"");
    let path = format!("{FOLDER}/{}", link.0);
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
    for key in [
        "",
        "/",
        ".",
        "..",
        "/..",
        "//x",
        "/../etc/passwd",
        "a/b",
        "a\0b",
        "/no-such-object",
        link.0.as_str(),
    ] {
        let error = shared.register("r".into(), key.to_owned(), 0, 1).unwrap_err();
        assert!(
            error.message.starts_with("Unable to open shared memory region"),
            "{key}: {error}"
        );
    }
    assert!(shared.status(None).unwrap().is_empty());
}

#[test]
fn what_exceeds_the_object_or_the_region_is_refused() {
    let object = Object::new("bounds", &[1; 64]);
    let shared = SharedMemory::new(true);
    for (offset, byte_size) in [(0, 65), (64, 1), (60, 8), (u64::MAX, 8), (8, u64::MAX), (0, 0)] {
        let error = shared
            .register("r".into(), object.0.clone(), offset, byte_size)
            .unwrap_err();
        assert!(
            error.message.contains("invalid args"),
            "{offset} {byte_size}: {error}"
        );
    }
    shared
        .register("r".into(), format!("/{}", object.0), 8, 32)
        .unwrap();
    let again = shared.register("r".into(), object.0.clone(), 0, 8).unwrap_err();
    assert_eq!(again.kind, ErrorKind::AlreadyExists);
    let access = access(shared);
    assert_eq!(input(&access, "r", 24, 8).unwrap().unwrap().len(), 8);
    for (offset, byte_size) in [(32, 1), (u64::MAX, 2), (8, u64::MAX), (24, 9), (0, 0)] {
        assert!(
            input(&access, "r", offset, byte_size).is_err(),
            "{offset} {byte_size}"
        );
    }
    assert_eq!(
        input(&access, "absent", 0, 1).unwrap_err().kind,
        ErrorKind::NotFound
    );
    access.shared.unregister(Some("r"));
    assert_eq!(input(&access, "r", 0, 1).unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn an_object_that_becomes_shorter_is_an_error_and_stays_short() {
    let object = Object::new("shorter", &[1; 64]);
    let shared = SharedMemory::new(true);
    shared.register("r".into(), object.0.clone(), 0, 64).unwrap();
    let path = format!("{FOLDER}/{}", object.0);
    OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(4)
        .unwrap();
    let access = access(shared);
    let error = input(&access, "r", 0, 16).unwrap_err();
    assert!(error.message.contains("became shorter"), "{error}");
    let region = access.shared.status(Some("r")).unwrap().remove(0);
    let error = place(region, 0, 16).unwrap().write("y", &[2; 16]).unwrap_err();
    assert!(error.message.contains("became shorter"), "{error}");
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 4);
}

#[test]
fn inputs_take_their_share_of_the_memory_for_requests() {
    let object = Object::new("share", &[1; 600]);
    let shared = SharedMemory::new(true);
    shared.register("r".into(), object.0.clone(), 0, 600).unwrap();
    let error = input(&access(shared), "r", 0, 600).unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooLarge, "{error}");
}

#[test]
fn nothing_is_registered_where_it_is_not_allowed() {
    let shared = SharedMemory::new(false);
    let error = shared.register("r".into(), "k".into(), 0, 1).unwrap_err();
    assert!(error.message.contains("--allow-client-shm=true"), "{error}");
    let error = input(&access(shared), "r", 0, 1).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
}
