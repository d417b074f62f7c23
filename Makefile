.PHONY: check test
check:
	scripts/check
test:
	cargo test --workspace --locked
