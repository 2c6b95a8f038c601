// Package e2e holds the end-to-end tests: the built plugin in a real Vault with Raft storage, against simulated remote
// systems. Most of them end with a login at the remote system.
//
// "make test" runs them with all others. They take two binaries from the environment, and build what is missing:
//
//   - VAULT_BIN: Vault. Otherwise scripts/vault.sh finds or builds one, which takes minutes.
//   - PLUGIN_BIN: the plugin with failpoints and a twentieth of the real waiting times, from "make test-plugin". Otherwise
//     it is built for each run.
//
// To run one test:
//
//	make test-plugin
//	export VAULT_BIN="$(make -s vault)" PLUGIN_BIN="$PWD/bin/test/vault-plugin-secrets-hosting"
//	go test -count=1 -v ./bootstrap/e2e -run TestHistoryNeedsSudo
//
// A file's name starts with what its tests show: rotation, outcome (of a request that fails or whose answer is lost),
// kill, cluster, consumers, due (changes that nobody requests) and surface (input, help, logs). real_servers_test.go uses
// redis-server and sshd where they are installed. The benchmarks are in bench_*_test.go. The harness is in harness_test.go,
// the connections, roles and logins in systems_test.go.
//
// At the end of each run, every secret that the tests have seen is searched for in Vault's log, the audit log and the
// answers; see canaries_test.go.
package e2e
