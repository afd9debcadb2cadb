//! One contract for every registry of schemas, and what is asked of a real one.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crossfade::base::Kind;
use crossfade::event::schema::schema;
use crossfade::plan::{DesiredSchema, DesiredSchemas, Judgement, Level, Risk, SchemaStep, plan_schemas};
use crossfade::port::memory_registry::MemoryRegistry;
use crossfade::port::registry::Registry;
use crossfade::provision::{observe_schemas, perform_schema_step};
use crossfade::registry::{FolderRegistry, HttpRegistry, Password, RegistrySettings};
use serde_json::{Value as Json, json};

/// The registry named by `CROSSFADE_TEST_REGISTRY`, and nobody's subjects but the case's own.
fn real() -> HttpRegistry {
    let url = std::env::var("CROSSFADE_TEST_REGISTRY").expect("CROSSFADE_TEST_REGISTRY names no registry");
    HttpRegistry::new(&RegistrySettings { url, ..RegistrySettings::default() }).unwrap()
}

fn subject() -> String {
    format!("t{}.rows-odd name/é", uuid::Uuid::new_v4().simple())
}

/// A closed record of integers, by the limit each has.
fn record(columns: &[(&str, i64)]) -> Json {
    let properties: serde_json::Map<String, Json> =
        columns.iter().map(|(name, most)| ((*name).to_owned(), json!({"type": "integer", "maximum": most}))).collect();
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    json!({"title": "odd", "type": "object", "properties": properties, "required": names, "additionalProperties": false})
}

fn what_is_not_there_is_none(registry: &dyn Registry) {
    let subject = subject();
    assert_eq!(registry.latest(&subject).unwrap(), None);
    assert!(registry.versions(&subject).unwrap().is_empty());
    assert_eq!(registry.version(&subject, 1).unwrap(), None);
    assert_eq!(registry.look_up(&subject, &record(&[("a", 1)])).unwrap(), None);
    assert_eq!(registry.level(&subject).unwrap(), None);
    assert_eq!(registry.check(&subject, &record(&[("a", 1)])).unwrap(), Judgement::Compatible);
    assert!(!registry.subjects().unwrap().contains(&subject));
}

fn a_schema_comes_back_as_it_went_in(registry: &dyn Registry) {
    let subject = subject();
    let mapping = crossfade::acc::mapping().unwrap();
    let schema = schema("acc", &mapping.tables[0]);
    registry.register(&subject, &schema).unwrap();
    let latest = registry.latest(&subject).unwrap().unwrap();
    assert_eq!((latest.version, &latest.schema), (1, &schema));
    assert_eq!(registry.look_up(&subject, &schema).unwrap(), Some(latest.clone()));
    assert_eq!(registry.version(&subject, 1).unwrap(), Some(latest));
    assert_eq!(registry.version(&subject, 2).unwrap(), None);
    assert_eq!(registry.look_up(&subject, &record(&[("a", 1)])).unwrap(), None);
    assert!(registry.subjects().unwrap().contains(&subject));
}

fn the_same_schema_is_one_version(registry: &dyn Registry) {
    let subject = subject();
    registry.set_level(&subject, Level::Backward).unwrap();
    let (small, large) = (record(&[("a", 1)]), record(&[("a", 9)]));
    for schema in [&small, &small, &large, &large, &small] {
        registry.register(&subject, schema).unwrap();
    }
    assert_eq!(registry.versions(&subject).unwrap(), [1, 2]);
    assert_eq!(registry.latest(&subject).unwrap().unwrap().schema, large);
    assert_eq!(registry.look_up(&subject, &small).unwrap().unwrap().version, 1);
    assert_ne!(registry.version(&subject, 1).unwrap().unwrap().id, registry.version(&subject, 2).unwrap().unwrap().id);
}

fn a_level_may_come_before_the_first_version(registry: &dyn Registry) {
    let subject = subject();
    for level in [Level::Full, Level::Forward, Level::BackwardTransitive] {
        registry.set_level(&subject, level).unwrap();
        assert_eq!(registry.level(&subject).unwrap(), Some(level));
    }
    assert!(!registry.subjects().unwrap().contains(&subject));
}

fn the_level_decides_what_is_taken(registry: &dyn Registry) {
    let (small, large) = (record(&[("a", 1)]), record(&[("a", 9)]));
    let cases = [
        (Level::Backward, &small, &large, true),
        (Level::Backward, &large, &small, false),
        (Level::Forward, &large, &small, true),
        (Level::Forward, &small, &large, false),
        (Level::Full, &small, &large, false),
    ];
    for (level, old, new, taken) in cases {
        let subject = subject();
        registry.set_level(&subject, level).unwrap();
        registry.register(&subject, old).unwrap();
        let judgement = registry.check(&subject, new).unwrap();
        assert_eq!(judgement == Judgement::Compatible, taken, "{level:?} {judgement:?}");
        if let Judgement::Incompatible(reasons) = judgement {
            assert!(reasons.iter().all(|reason| !reason.is_empty()) && !reasons.is_empty());
        }
        let answer = registry.register(&subject, new);
        assert_eq!(answer.as_ref().err().map(crossfade::base::Error::kind), (!taken).then_some(Kind::Refused));
        assert_eq!(registry.versions(&subject).unwrap().len(), if taken { 2 } else { 1 });
    }
}

fn a_plan_is_made_and_made_again(registry: &dyn Registry) {
    let desired = |schema: &Json, level| {
        let schemas = [subject(), subject()].map(|subject| DesiredSchema {
            subject,
            topic: "t".into(),
            table: "odd".into(),
            schema: schema.clone(),
        });
        DesiredSchemas { schemas: schemas.to_vec(), level }
    };
    let plan = |desired: &DesiredSchemas| plan_schemas(desired, &observe_schemas(registry, desired).unwrap());
    let apply = |desired: &DesiredSchemas| {
        for (change, step) in plan(desired) {
            perform_schema_step(registry, &step.unwrap_or_else(|| panic!("{change:?}"))).unwrap();
        }
    };
    let reasons = |desired: &DesiredSchemas| -> Vec<String> {
        plan(desired).into_iter().map(|(change, _)| change.reason).collect()
    };

    let mut wanted = desired(&record(&[("a", 1)]), Some(Level::Full));
    assert_eq!(reasons(&wanted), ["compatibility-set", "schema-new", "compatibility-set", "schema-new"]);
    let before = observe_schemas(registry, &wanted).unwrap().fingerprints();
    assert_eq!(observe_schemas(registry, &wanted).unwrap().fingerprints(), before, "the same state, another print");
    let steps: Vec<SchemaStep> = plan(&wanted).into_iter().filter_map(|(_, step)| step).collect();
    apply(&wanted);
    assert_eq!(reasons(&wanted), [""; 0]);
    let after = observe_schemas(registry, &wanted).unwrap().fingerprints();
    assert!(before.iter().all(|(subject, print)| after[subject] != *print));
    for step in &steps {
        perform_schema_step(registry, step).unwrap();
    }
    assert_eq!(
        observe_schemas(registry, &wanted).unwrap().fingerprints(),
        after,
        "a step made again changed something"
    );

    wanted.schemas[0].schema = record(&[("a", 9)]);
    wanted.schemas.truncate(1);
    let changes = plan(&wanted);
    assert_eq!((changes.len(), changes[0].0.risk, changes[0].1.is_some()), (1, Risk::Impossible, false), "{changes:?}");
    let step = SchemaStep::Register { subject: wanted.schemas[0].subject.clone(), schema: record(&[("a", 9)]) };
    assert_eq!(perform_schema_step(registry, &step).unwrap_err().kind(), Kind::Refused);

    wanted.level = Some(Level::BackwardTransitive);
    assert_eq!(reasons(&wanted), ["compatibility-changed", "schema-compatible"]);
    assert_eq!(plan(&wanted)[0].0.risk, Risk::NeedsFlag);
    apply(&wanted);
    assert_eq!(reasons(&wanted), [""; 0]);
    assert_eq!(registry.versions(&wanted.schemas[0].subject).unwrap(), [1, 2]);
}

/// Every case of the contract as a test of one registry.
macro_rules! contract {
    ($registry:expr $(, #[$attribute:meta])?) => {
        contract!(@each $registry, ($(#[$attribute])?),
            what_is_not_there_is_none,
            a_schema_comes_back_as_it_went_in,
            the_same_schema_is_one_version,
            a_level_may_come_before_the_first_version,
            the_level_decides_what_is_taken,
            a_plan_is_made_and_made_again,
        );
    };
    (@each $registry:expr, $attributes:tt, $($case:ident),* $(,)?) => {
        $(contract!(@one $registry, $attributes, $case);)*
    };
    (@one $registry:expr, ($(#[$attribute:meta])?), $case:ident) => {
        #[test]
        $(#[$attribute])?
        fn $case() {
            super::$case(&$registry);
        }
    };
}

mod memory {
    use super::*;

    contract!(MemoryRegistry::default());
}

mod folder {
    use super::*;

    /// In a folder of the case's own, which goes away with it.
    fn new() -> (FolderRegistry, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (FolderRegistry::new(folder.path().join("schemas")), folder)
    }

    contract!(new().0);

    #[test]
    fn files_of_other_names_are_nobody_s() {
        let folder = tempfile::tempdir().unwrap();
        let registry = FolderRegistry::new(folder.path());
        registry.register("t-a", &json!({"type": "null"})).unwrap();
        for name in ["README.md", "t-a/note.txt", "t-a/01.json", "t-a/0.json"] {
            std::fs::write(folder.path().join(name), "not ours").unwrap();
        }
        std::fs::create_dir(folder.path().join("a folder")).unwrap();
        assert_eq!(registry.subjects().unwrap(), ["t-a"]);
        assert_eq!(registry.versions("t-a").unwrap(), [1]);
        std::fs::write(folder.path().join("t-a/1.json"), "{").unwrap();
        let error = registry.latest("t-a").unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.message().contains("1.json is no JSON"), "{error}");
    }
}

mod apicurio {
    use super::*;

    contract!(real(), #[ignore = "needs a schema registry"]);

    #[test]
    #[ignore = "needs a schema registry"]
    fn a_wrong_path_is_told_as_such() {
        let url = std::env::var("CROSSFADE_TEST_REGISTRY").unwrap();
        let (root, _) = url.split_once("/apis").unwrap();
        for url in [root.to_owned(), format!("{root}/ui")] {
            let registry = HttpRegistry::new(&RegistrySettings { url, ..RegistrySettings::default() }).unwrap();
            let error = registry.default_level().unwrap_err();
            assert_eq!(error.kind(), Kind::Config, "{error}");
            assert!(error.message().contains("does not answer as a schema registry"), "{error}");
        }
    }

    #[test]
    #[ignore = "needs a schema registry"]
    fn a_schema_it_cannot_read_is_refused_with_its_words() {
        let error = real().register(&subject(), &json!("{")).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{error}");
        assert!(std::error::Error::source(&error).is_some());
    }
}

/// Answers one request with `answer`, and gives the request back.
fn once(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    (url, served)
}

fn with_login(url: String) -> HttpRegistry {
    let settings = RegistrySettings {
        url,
        username: Some("ada".into()),
        password: Some(Password::new("tell-nobody")),
        ca_file: None,
    };
    HttpRegistry::new(&settings).unwrap()
}

#[test]
fn a_refused_log_in_is_told_without_the_password() {
    let (url, served) = once("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n");
    let error = with_login(url).default_level().unwrap_err();
    assert_eq!(error.kind(), Kind::Connect);
    assert!(error.message().contains("refused the log-in"), "{error}");
    assert!(error.help().unwrap().contains("registry.username"));
    let request = served.join().unwrap();
    assert!(request.contains("authorization: Basic YWRhOnRlbGwtbm9ib2R5"), "{request}");
    assert!(!format!("{error:?}").contains("tell-nobody") && !format!("{error:?}").contains("YWRhOnRlbG"));
}

#[test]
fn what_is_no_registry_is_told_as_such() {
    let answers = [
        "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>",
        "HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\n\r\nnot found",
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
    ];
    for answer in answers {
        let (url, served) = once(answer);
        let error = with_login(url).default_level().unwrap_err();
        assert_eq!(error.kind(), Kind::Config, "{answer}");
        assert!(error.message().contains("does not answer as a schema registry"), "{error}");
        served.join().unwrap();
    }
}

#[test]
fn a_registry_that_is_not_there_or_silent_is_told_soon() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [closed, silent.local_addr().unwrap()] {
        let began = Instant::now();
        let error = with_login(format!("http://{address}")).default_level().unwrap_err();
        assert_eq!(error.kind(), Kind::Connect, "{error}");
        assert!(error.message().ends_with("does not answer"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
}

#[test]
fn encryption_that_is_not_there_is_told_as_such() {
    let (url, served) = once("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    let error = with_login(url.replace("http:", "https:")).default_level().unwrap_err();
    assert_eq!(error.kind(), Kind::Connect, "{error}");
    assert!(error.message().contains("encrypted connection"), "{error:?}");
    served.join().unwrap();
}

#[test]
fn a_ca_file_without_a_certificate_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let new = || {
        let settings =
            RegistrySettings { url: "https://127.0.0.1:1".into(), ca_file: Some(file.clone()), ..Default::default() };
        HttpRegistry::new(&settings).err().unwrap()
    };
    assert!(new().message().ends_with("cannot be read"));
    std::fs::write(&file, "no certificate").unwrap();
    assert!(new().message().ends_with("holds no certificate"));
}
