# The steps of this project by name; CI runs the same script. `just --list` shows them.

# Runs the sidecar with the shipped sidecar.yaml.
run:
    cargo run --release -- --config sidecar.yaml

# A binary without shared libraries: target/static/tandem
static:
    scripts/build-static

# Everything that CI runs.
test *ARGS:
    scripts/test {{ARGS}}

# Format, clippy, and the unit and integration tests.
quick:
    scripts/test --quick

# The official Redis Tcl suite, or some units of it: just suite --only unit/scan
suite *ARGS:
    cargo build --release
    scripts/suite {{ARGS}}

# Random commands against redis-server, longer than CI does.
differential SEQUENCES="2000" SEED="1":
    TANDEM_DIFF_SEQUENCES={{SEQUENCES}} TANDEM_DIFF_SEED={{SEED}} scripts/test differential

# Licences, advisories, bans.
deny:
    scripts/test deny
