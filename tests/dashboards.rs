//! dashboards/ and examples/deploy/: well formed, and about metrics that exist.
//!
//! `promtool` checks the alert rules and runs their tests where `scripts/test --setup` could install it.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tandem::observe::metrics::{self, Kind};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(repository(folder)).expect("the folder");
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    found.retain(|path| path.extension().is_some_and(|e| e == extension));
    found.sort();
    assert!(!found.is_empty(), "{folder} has no *.{extension}");
    found
}

/// Every name in an expression that could be a metric of ours.
fn metrics_in(expression: &str) -> BTreeSet<&str> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("redis_") || word.starts_with("tandem_")).collect()
}

/// Every name that a series can have.
fn known() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for metric in metrics::CHAPTERS.iter().flat_map(|chapter| chapter.metrics) {
        match metric.kind {
            Kind::Histogram => {
                names.extend(["bucket", "sum", "count"].map(|suffix| format!("{}_{suffix}", metric.name)));
            }
            _ => {
                names.insert(metric.name.to_owned());
            }
        }
    }
    names
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} is missing in {value}"))
}

fn check_panel(file: &str, panel: &Value, known: &BTreeSet<String>) {
    let title = text(panel, "title");
    let place = &panel["gridPos"];
    let number = |field: &str| place[field].as_u64().unwrap_or_else(|| panic!("{file}: {title}: {field}"));
    assert!(number("x") + number("w") <= 24 && number("h") > 0, "{file}: {title} is outside of the grid");
    number("y");
    if text(panel, "type") == "row" {
        return;
    }
    assert_eq!(panel["datasource"]["uid"], "${datasource}", "{file}: {title}");
    let targets = panel["targets"].as_array().expect("targets");
    let ids: BTreeSet<&str> = targets.iter().map(|target| text(target, "refId")).collect();
    assert_eq!(ids.len(), targets.len(), "{file}: {title}: refId twice");
    for target in targets {
        let expression = text(target, "expr");
        let used = metrics_in(expression);
        assert!(!used.is_empty(), "{file}: {title} shows nothing of ours: {expression}");
        for name in used {
            assert!(known.contains(name), "{file}: {title}: there is no {name}");
        }
        let selectors = expression.matches("instance=~\"$instance\"").count();
        assert!(selectors >= 1, "{file}: {title} does not follow the chosen instance: {expression}");
        target["legendFormat"].as_str().expect("a legend");
    }
}

#[test]
fn dashboards_are_what_grafana_reads() {
    let known = known();
    let mut uids = BTreeSet::new();
    for path in files("dashboards", "json") {
        let file = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let board: Value = serde_json::from_str(&read(&path)).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!(text(&board, "uid"), file, "the file is named after the dashboard");
        assert!(uids.insert(file.clone()));
        assert!(!text(&board, "title").is_empty());
        assert!(board["schemaVersion"].as_u64().is_some_and(|version| version >= 36), "{file}");
        assert!(board["time"]["from"].is_string() && board["templating"]["list"].is_array(), "{file}");
        let variables = board["templating"]["list"].as_array().expect("variables");
        let names: Vec<&str> = variables.iter().map(|variable| text(variable, "name")).collect();
        assert_eq!(names, ["datasource", "job", "instance"], "{file}");
        let panels = board["panels"].as_array().expect("panels");
        let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
        assert_eq!(ids.len(), panels.len(), "{file}: every panel has a number of its own");
        panels.iter().for_each(|panel| check_panel(&file, panel, &known));
    }
}

#[test]
fn alerts_are_about_what_exists() {
    let known = known();
    let rules: Value = serde_yaml_ng::from_str(&read(&repository("dashboards/alerts.yaml"))).expect("YAML");
    let groups = rules["groups"].as_array().expect("groups");
    let rules: Vec<&Value> =
        groups.iter().flat_map(|group| group["rules"].as_array().expect("rules")).collect();
    let names: BTreeSet<&str> = rules.iter().map(|rule| text(rule, "alert")).collect();
    assert_eq!(names.len(), rules.len());
    for rule in rules {
        let (name, expression) = (text(rule, "alert"), text(rule, "expr"));
        for metric in metrics_in(expression) {
            assert!(known.contains(metric), "{name}: there is no {metric}");
        }
        assert!(["warning", "critical"].contains(&text(&rule["labels"], "severity")), "{name}");
        assert!(!text(&rule["annotations"], "summary").is_empty(), "{name}");
        assert!(!text(&rule["annotations"], "description").is_empty(), "{name}");
    }
}

/// All documents of a file of YAML.
fn documents(path: &Path) -> Vec<Value> {
    use serde::Deserialize;
    let text = read(path);
    let documents = serde_yaml_ng::Deserializer::from_str(&text);
    documents.map(|d| Value::deserialize(d).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).collect()
}

#[test]
fn examples_mount_what_is_there() {
    let folder = repository("examples/deploy");
    let compose = &documents(&folder.join("compose.yaml"))[0];
    let services = compose["services"].as_object().expect("services");
    for (name, service) in services {
        assert!(service["image"].is_string() || service["build"].is_object(), "{name}");
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let source = volume.as_str().expect("source:target").split(':').next().unwrap_or_default();
            let exists = match source.starts_with('.') {
                true => folder.join(source).exists(),
                false => compose["volumes"].get(source).is_some(),
            };
            assert!(exists, "{name}: {source} is not there");
        }
    }
    for path in files("examples/deploy", "yaml").into_iter().chain(files("examples/deploy/grafana", "yaml")) {
        assert!(!documents(&path).is_empty(), "{}", path.display());
    }
    let objects = documents(&folder.join("kubernetes.yaml"));
    assert!(objects.iter().all(|o| o["apiVersion"].is_string() && o["metadata"]["name"].is_string()));
    let pod = &objects[1]["spec"]["template"]["spec"];
    let volumes = pod["volumes"].as_array().expect("volumes");
    let volumes: BTreeSet<&str> = volumes.iter().map(|volume| text(volume, "name")).collect();
    for kind in ["initContainers", "containers"] {
        for container in pod[kind].as_array().expect("containers") {
            for mount in container["volumeMounts"].as_array().expect("mounts") {
                assert!(volumes.contains(text(mount, "name")), "{mount}");
            }
        }
    }
}

/// Each dashboard and the alert rules reach Grafana and Prometheus by both examples.
#[test]
fn examples_provision_the_dashboards_and_the_rules() {
    let folder = repository("examples/deploy");
    let compose = &documents(&folder.join("compose.yaml"))[0]["services"];
    let mounted = |service: &str, file: &str, target: &str| {
        let volumes = compose[service]["volumes"].as_array().expect("volumes");
        let wanted = repository(file).canonicalize().expect("the file");
        let is_it = |volume: &Value| {
            let mut parts = volume.as_str().expect("source:target").split(':');
            let source = folder.join(parts.next().unwrap_or_default()).canonicalize();
            source.is_ok_and(|source| source == wanted) && parts.next() == Some(target)
        };
        assert!(volumes.iter().any(is_it), "{service} does not have {file} at {target}");
    };
    let prometheus = &documents(&folder.join("prometheus.yaml"))[0];
    let rules = prometheus["rule_files"][0].as_str().expect("a file of rules");
    mounted("prometheus", "dashboards/alerts.yaml", rules);
    mounted("prometheus", "examples/deploy/prometheus.yaml", "/etc/prometheus/prometheus.yml");
    let target = prometheus["scrape_configs"][0]["static_configs"][0]["targets"][0].as_str();
    assert_eq!(target, Some("tandem:9121"));
    let provider = &documents(&folder.join("grafana/dashboards.yaml"))[0]["providers"][0]["options"]["path"];
    let boards = provider.as_str().expect("a folder");
    mounted("grafana", "dashboards", boards);
    let home = text(&compose["grafana"]["environment"], "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH");
    let home = home.strip_prefix(boards).expect("a file in that folder").trim_start_matches('/');
    assert!(repository("dashboards").join(home).is_file(), "{home}");
    let source =
        text(&documents(&folder.join("grafana/datasources.yaml"))[0]["datasources"][0], "url").to_owned();
    assert_eq!(source, "http://prometheus:9090");

    let kustomization = &documents(&repository("dashboards/kustomization.yaml"))[0];
    let maps = kustomization["configMapGenerator"].as_array().expect("config maps");
    let listed = maps.iter().flat_map(|map| map["files"].as_array().expect("files"));
    let listed: BTreeSet<&str> = listed.map(|file| file.as_str().expect("a name")).collect();
    let mut there: BTreeSet<String> = files("dashboards", "json")
        .iter()
        .map(|path| path.file_name().expect("a name").to_string_lossy().into_owned())
        .collect();
    there.insert("alerts.yaml".to_owned());
    assert_eq!(listed, there.iter().map(String::as_str).collect());
}

/// The settings in the examples are settings, and the server starts with them.
#[test]
fn settings_of_the_examples_are_taken() {
    use tandem::config::{Form, parse};
    let objects = documents(&repository("examples/deploy/kubernetes.yaml"));
    let yaml = text(&objects[0]["data"], "sidecar.yaml");
    let config = parse(yaml.as_bytes(), Form::Yaml).expect("the settings");
    assert_eq!(config.metrics_port, 9121);
    let compose = &documents(&repository("examples/deploy/compose.yaml"))[0];
    let words = compose["services"]["tandem"]["command"].as_array().expect("its arguments");
    let words: Vec<&str> = words.iter().map(|word| word.as_str().expect("text")).collect();
    let dir = tempfile::tempdir().expect("folder");
    let output = std::process::Command::new(common::tandem_binary())
        .arg("--check-config")
        .args(&words)
        .current_dir(dir.path())
        .output()
        .expect("start");
    let shown =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && shown.contains("http tcp *:9121"), "{shown}");
}
