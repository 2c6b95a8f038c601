#!/usr/bin/env bash
# Demonstrates the secrets engine with a real Vault, the plugin, and simulated remote systems, all on loopback.
#
# The script prints each command before it runs it, so that you can repeat it by hand. It does not need root, writes only
# to a temporary folder, and removes it at the end. With KEEP=1 everything stays up until Ctrl-C, and the script prints
# how to reach it.
#
# shellcheck disable=SC2016 # commands are printed with variable names and expanded when they run
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
plugin="vault-plugin-secrets-hosting"
keep=${KEEP:-}

# --- Output and checks ------------------------------------------------------------------------------------------------

bold='' plain=''
if [[ -t 1 ]]; then
	bold=$'\e[1m' plain=$'\e[0m'
fi

title() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
note() {
	printf '\n'
	printf '# %s\n' "$@"
}

fail() {
	printf '\ndemo: %s\n' "$*" >&2
	exit 1
}

# mask shortens each password to three characters, in tables and in JSON. It adds the final newline that vault may omit.
mask() {
	awk 1 | sed -E -e 's/^((next_|last_)?password +.{3}).*/\1.../' \
		-e 's/("(next_|last_)?password": *"([^"\\]|\\.){0,3})([^"\\]|\\.)*/\1.../'
}

# run prints a command and runs it. Its output is kept in the file "output".
run() {
	printf '%s$ %s%s\n' "$bold" "$1" "$plain"
	eval "$1" 2>&1 | tee "$work/output" | mask || fail "the command above failed"
}

# gives is run, and checks that the output is one line with this text.
gives() {
	run "$2"
	[[ $(<"$work/output") == "$1" ]] || fail "the output above is not \"$1\""
}

# refused is run for a command that must fail with an output that contains this text.
refused() {
	printf '%s$ %s%s\n' "$bold" "$2" "$plain"
	if eval "$2" >"$work/output" 2>&1; then
		mask <"$work/output"
		fail "the command above succeeded but should have failed"
	fi
	mask <"$work/output"
	grep -q -- "$1" "$work/output" || fail "the command above failed, but not with \"$1\""
}

# value prints a field of a role from the last table of creds or status that was read.
value() { awk -v name="$1" '$1 == name { sub(/^[^ ]+ +/, ""); print }' "$work/output"; }

# expect checks a field in the output of the last "run".
expect() {
	local got
	got=$(value "$1")
	[[ $got == "$2" ]] || fail "$1 is \"$got\", want \"$2\""
}

# await polls a role until its version and state are the wanted ones, and prints the command that shows it.
await() {
	local role=$1 wanted="$2 $3" begin=$SECONDS got=''
	while ((SECONDS - begin < 60)); do
		vault read "hosting/status/$role" >"$work/output"
		got="$(value version) $(value state)"
		if [[ $got == "$wanted" ]]; then
			gives "$3" "vault read -field=state hosting/status/$role    # after $((SECONDS - begin)) s"
			return
		fi
		sleep 0.2
	done
	fail "after a minute, version and state of $role are \"$got\", want \"$wanted\""
}

# macOS has shasum instead.
command -v sha256sum >/dev/null || sha256sum() { shasum -a 256 "$@"; }

# --- Starting and stopping --------------------------------------------------------------------------------------------

work=
daemons=()

# start runs a program in its own process group: start LOG COMMAND...
start() {
	local log=$1
	shift
	: >"$log" # callers grep it immediately
	set -m
	"$@" >"$log" 2>&1 </dev/null &
	set +m
	daemons+=($!)
}

# stop ends everything that start started, including child processes.
stop() {
	local pid _
	for pid in ${daemons[@]+"${daemons[@]}"}; do
		kill -TERM "$pid" 2>/dev/null || true # Vault stops its plugins itself
	done
	for pid in ${daemons[@]+"${daemons[@]}"}; do
		for _ in {1..50}; do
			kill -0 -- "-$pid" 2>/dev/null || break
			sleep 0.1
		done
		kill -KILL -- "-$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	daemons=()
}

finish() {
	local status=$? log
	trap - EXIT
	trap '' INT TERM HUP
	stop
	if [[ -n $work ]]; then
		if ((status != 0 && status < 128)); then
			for log in "$work"/*.log; do
				[[ -f $log ]] || continue
				printf '\n--- last lines of %s\n' "${log##*/}" >&2
				tail -n 20 "$log" >&2
			done
		fi
		rm -rf "$work"
	fi
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# until_ready waits for a condition: until_ready LOG COMMAND...
until_ready() {
	local log=$1 begin=$SECONDS
	shift
	until "$@"; do
		kill -0 "${daemons[@]: -1}" 2>/dev/null || return 1
		((SECONDS - begin < 30)) || fail "${log##*/}: not ready after 30 seconds"
		sleep 0.1
	done
}

all_run() {
	local pid
	for pid in "${daemons[@]}"; do
		kill -0 "$pid" 2>/dev/null || return 1
	done
}

listens() { (exec 4<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# "vault status" exits with 0, or with 2 while Vault is sealed; 1 is an error.
vault_answers() {
	local status=0
	vault status >/dev/null 2>&1 || status=$?
	((status != 1))
}

start_vault() {
	local port
	for _ in {1..5}; do
		port=$((20000 + RANDOM % 5000 * 2))
		if listens "$port" || listens $((port + 1)); then
			continue
		fi
		export VAULT_ADDR=http://127.0.0.1:$port
		cat >vault.hcl <<-HCL
			storage "raft" {
			  path    = "$work/storage"
			  node_id = "demo"

			  performance_multiplier = 1
			}
			listener "tcp" {
			  address     = "127.0.0.1:$port"
			  tls_disable = true # acceptable on loopback only
			}
			api_addr         = "$VAULT_ADDR"
			cluster_addr     = "https://127.0.0.1:$((port + 1))" # Vault listens here too, one above the API port
			plugin_directory = "$work/plugins"
			disable_mlock    = true
			log_level        = "info"
		HCL
		start vault.log vault server -config=vault.hcl
		if until_ready vault.log vault_answers; then
			return
		fi
		grep -q 'address already in use' vault.log || break
	done
	fail "Vault did not start"
}

# address prints an address or a fingerprint that the simulator announced: address NAME..., the start of the line ("redis",
# "ssh ecs ID" or "hostkey ID").
address() { awk -v begin="$*" '{ line = $0; gsub(/ +/, " ", line) } index(line, begin " ") == 1 { print $NF }' simulator.log; }

start_simulator() {
	start simulator.log hosting-simulator -state remote.json -ca-file ca.pem
	until_ready simulator.log grep -q '^ready$' simulator.log || fail "the simulator did not start"
	CONTROL_URL=$(address control)
	MT_URL=$(address mediatemple) MT_PANEL=$(address panel "$SERVICE_ID")
	MT_SSH=$(address ssh mediatemple "$SERVICE_ID") MT_HOST_KEY=$(address hostkey "$SERVICE_ID")
	PLESK_URL=$(address plesk) DCS_URL=$(address dcs) REDIS_ADDR=$(address redis)
	CLOUDDC_URL=$(address clouddc) WEB1_SSH=$(address ssh ecs "$WEB1") WEB1_HOST_KEY=$(address hostkey "$WEB1")
	export CONTROL_URL MT_URL MT_PANEL MT_SSH MT_HOST_KEY PLESK_URL DCS_URL REDIS_ADDR CLOUDDC_URL WEB1_SSH WEB1_HOST_KEY
}

random() { od -An -v -tx1 -N 12 /dev/urandom | tr -d ' \n'; }

# remote_systems writes the initial state of the remote systems, and each credential to a file of its own.
remote_systems() {
	local app server
	printf '%s' "Mk$(random)" >mt.key
	printf '%s' "$(random)" >plesk.key
	printf '%s' "Sk$(random)" >cloud.key
	app=App-$(random)
	printf '%s' "$app" >app.password
	server=Srv-$(random)
	server=${server:0:24} # these servers accept at most 26 characters
	printf '%s' "$server" >server.password
	cat >remote.json <<-JSON
		{
		  "mediatemple": {
		    "accounts": [{
		      "api_keys": ["$(<mt.key)"],
		      "services": [{
		        "id": $SERVICE_ID, "primary_domain": "dv.example.com", "has_plesk": true,
		        "root_password": "Pa-$(random)", "plesk_password": "Pb-$(random)"
		      }]
		    }]
		  },
		  "plesk": {
		    "admin_password": "Pc-$(random)",
		    "secret_keys": [{"key": "$(<plesk.key)"}],
		    "aliases": [{"login": "ops1", "password": "Pd-$(random)"}]
		  },
		  "huaweicloud": {
		    "domain_name": "example",
		    "projects": [{"id": "$PROJECT_ID", "name": "ap-southeast-3"}],
		    "users": [],
		    "access_keys": [{"access_key": "$ACCESS_KEY", "secret_key": "$(<cloud.key)"}]
		  },
		  "ecs": {
		    "instances": [
		      {"id": "$WEB1", "server_id": "physical-1", "name": "web1", "project_id": "$PROJECT_ID", "password": "$server"}
		    ]
		  },
		  "dcs": {
		    "instances": [{
		      "id": "$INSTANCE_ID", "name": "cache", "project_id": "$PROJECT_ID", "engine_version": "6.0", "enable_ssl": true,
		      "accounts": [{"id": "$ACCOUNT_ID", "name": "app", "password": "$app"}]
		    }]
		  }
		}
	JSON
}

# --- Setup ------------------------------------------------------------------------------------------------------------

echo "Building the plugin and the simulator, and locating Vault ..."
make -C "$root" build >/dev/null
vault=$("$root/scripts/vault.sh")
version=$("$root/bin/$plugin" -version)

# Isolate the demo from the user's own Vault: ignore VAULT_* variables and ~/.vault-token.
begin=$SECONDS
umask 077
for name in $(compgen -e VAULT_); do
	unset "$name"
done
work=$(mktemp -d "${TMPDIR:-/tmp}/hosting-demo.XXXXXX")
work=$(cd "$work" && pwd -P) # Vault rejects plugins whose path contains a symbolic link
cd "$work"
mkdir bin plugins storage home
export HOME=$work/home
ln -s "$vault" bin/vault
ln -s "$root/bin/hosting-simulator" "$root/bootstrap/demo/control" bin/
cp "$root/bin/$plugin" plugins/
export PATH=$work/bin:$PATH

export PROJECT_ID=0f1e2d3c4b5a69788796a5b4c3d2e1f0 ACCESS_KEY=DEMOACCESSKEY
export INSTANCE_ID=6a1f2c3d-1111-4a2b-8c3d-0123456789ab ACCOUNT_ID=7b2e3d4c-2222-4b3c-9d4e-abcdef012345
export WEB1=0197f36d-1111-7258-b177-3784b7887a17 SERVICE_ID=556
remote_systems
start_simulator
# Plesk does not document whether additional administrators may use the XML API, which logins prove their passwords with, so the
# simulator denies it by default. Server web1 takes 7 seconds to restart, and Media Temple 3 to change a password.
for switches in '"system": "plesk", "alias_api": "allowed"' '"system": "ecs", "restart_ms": 7000' '"system": "mediatemple", "job_ms": 3000'; do
	control PUT /v1/switches "{$switches}" >/dev/null
done
start_vault
vault operator init -key-shares=1 -key-threshold=1 >init.txt
VAULT_TOKEN=$(sed -n 's/^Initial Root Token: //p' init.txt)
export VAULT_TOKEN
sed -n 's/^Unseal Key 1: //p' init.txt | tr -d '\n' >unseal.key
vault write sys/unseal key=@unseal.key >/dev/null
# Show each error once: by default the vault CLI retries requests that fail with 5xx, and would get the same answer.
export VAULT_MAX_RETRIES=0

note "$(vault version | cut -d , -f 1) is running at $VAULT_ADDR, and simulated remote systems beside it."

# --- The engine -------------------------------------------------------------------------------------------------------

title "1. Register the plugin and enable it"
run "vault plugin register -sha256=\"\$(sha256sum plugins/$plugin | cut -d ' ' -f 1)\" -version=$version secret $plugin"
run "vault secrets enable -path=hosting $plugin"

title "2. Connect to four remote systems"
note "The engine tests each connection before it stores it. Secrets are read from files, so they appear in no command." \
	"allowed_verify_addresses says where the engine may log in with passwords, to see whether they work."
run 'vault write hosting/config/mt provider=mediatemple url="$MT_URL" ca_cert=@ca.pem api_key=@mt.key settle_after=5s \
    allowed_roles="mt-*" allowed_verify_addresses="$MT_SSH,${MT_PANEL#https://}"'
run 'vault write hosting/config/panel provider=plesk url="$PLESK_URL" ca_cert=@ca.pem secret_key=@plesk.key \
    allowed_roles="ops*"'
run 'vault write hosting/config/servers provider=ecs url="$CLOUDDC_URL" ca_cert=@ca.pem project_id="$PROJECT_ID" \
    access_key="$ACCESS_KEY" secret_key=@cloud.key allowed_roles=server allow_restart=true \
    allowed_verify_addresses="$WEB1_SSH"'
run 'vault write hosting/config/redis provider=dcs url="$DCS_URL" ca_cert=@ca.pem project_id="$PROJECT_ID" \
    access_key="$ACCESS_KEY" secret_key=@cloud.key allowed_roles=cache allowed_verify_addresses="$REDIS_ADDR"'

title "3. Put five accounts under Vault's management"
note "A server takes a new password when it restarts. The role keeps the current one for now, and a login proves it." \
	"It is due for a new one every 10 seconds, which is only for this demo."
gives active 'vault write -field=state hosting/roles/server connection=servers instance_ids="$WEB1" \
    skip_initial_rotation=true password=@server.password restart=soft rotation_period=10s \
    verify=ssh verify_address="$WEB1_SSH" verify_host_key="$WEB1_HOST_KEY"'
note "The other roles set a first password when they are created. Media Temple only queues it: \"accepted\"."
gives accepted 'vault write -field=state hosting/roles/mt-root connection=mt service_id="$SERVICE_ID" account=root \
    verify=ssh verify_address="$MT_SSH" verify_host_key="$MT_HOST_KEY"'
gives accepted 'vault write -field=state hosting/roles/mt-plesk connection=mt service_id="$SERVICE_ID" account=plesk \
    verify=plesk verify_address="${MT_PANEL#https://}" verify_ca_cert=@ca.pem'
gives active 'vault write -field=state hosting/roles/ops1 connection=panel login=ops1 verify=plesk'
note "DCS changes the password of a Redis account only if the current one is given."
gives active 'vault write -field=state hosting/roles/cache connection=redis instance_id="$INSTANCE_ID" \
    account_id="$ACCOUNT_ID" username=app password=@app.password \
    verify=redis verify_address="$REDIS_ADDR" verify_ca_cert=@ca.pem on_drift=recover'

title "4. Read a password, log in with it, and rotate it"
note "The demo shortens passwords to three characters; vault read prints them in full."
login_ops1='hosting-simulator login plesk -url "$PLESK_URL" -ca-file ca.pem -username ops1'
login_cache='hosting-simulator login redis -addr "$REDIS_ADDR" -ca-file ca.pem -username app'
login_mt_root='hosting-simulator login ssh -addr "$MT_SSH" -username root'
login_mt_plesk='hosting-simulator login plesk -url "$MT_PANEL" -ca-file ca.pem -username admin'
login_server='hosting-simulator login ssh -addr "$WEB1_SSH" -username root'
works() { gives 'login works' "vault read -field=${3:-password} hosting/creds/$1 | $2"; }
run 'vault read hosting/creds/ops1'
expect version 1
works ops1 "$login_ops1"
note "version is the one to replace, so that a repeated request does nothing. \"active\": a login has proved the new password."
gives active 'vault write -field=state hosting/rotate-role/ops1 version=1'
works ops1 "$login_ops1"
run 'vault read -field=password hosting/creds/cache >old.password'
gives active 'vault write -field=state hosting/rotate-role/cache version=2'
works cache "$login_cache"
refused 'login refused' "$login_cache <old.password"

title "5. Accepted, not yet in force: Media Temple changes passwords later, and does not report when"
note "After settle_after, the engine logs in to see which password is in force."
await mt-root 1 active
await mt-plesk 1 active
gives accepted 'vault write -field=state hosting/rotate-role/mt-root version=1'
gives accepted 'vault write -field=state hosting/rotate-role/mt-plesk version=1'
note "Until then, password is the one that works, and next_password the queued one."
works mt-root "$login_mt_root"
refused 'login refused' "vault read -field=next_password hosting/creds/mt-root | $login_mt_root"
works mt-plesk "$login_mt_plesk"

title "6. The worst case: Plesk changes the password, but the response is lost"
note "control sends a request to the simulator, like curl -X METHOD -d JSON \"\$CONTROL_URL/PATH\"."
run "control PUT /v1/faults '{\"system\": \"plesk\", \"target\": \"ops1\", \"kind\": \"apply-cut\", \"count\": 1}'"
note "Either password may be in force now. The engine has stored both, and a login shows which it is. Vault's log has the failure."
gives active 'vault write -field=state hosting/rotate-role/ops1 version=2'
run "grep -o 'reason=\"the connection broke.*carried out\"' vault.log"
works ops1 "$login_ops1"

title "7. A program gets the password from Vault Agent, which logs in to Vault and renders a file"
cat >agent.hcl <<-HCL
	auto_auth {
	  method "token_file" {
	    config = { token_file_path = "$work/token" }
	  }
	}
	template {
	  contents    = "{{ with secret \"hosting/creds/cache\" }}{{ .Data.password }}{{ end }}"
	  destination = "$work/cache.password"
	}
	exit_after_auth = true # and rendering; without it, the Agent renders the file again after each rotation
HCL
printf '%s' "$VAULT_TOKEN" >token
run "grep -A 3 template agent.hcl"
run "vault agent -config=agent.hcl >agent.log 2>&1"
gives 'login works' "$login_cache <cache.password"

title "8. Drift: someone changes a password behind Vault's back"
note "For example, they restore a backup."
run 'control PUT /v1/passwords "{\"system\": \"dcs\", \"target\": \"$INSTANCE_ID/$ACCOUNT_ID\", \"password\": \"$(cat old.password)\"}"'
refused 'login refused' "vault read -field=password hosting/creds/cache | $login_cache"
note "With verify_period, the engine finds that itself, at most once an hour. Do not wait for it:"
gives drifted 'vault write -f -field=state hosting/verify-role/cache'
note "on_drift=recover has the engine try the older passwords. The one that works gets a new version."
await cache 4 active
works cache "$login_cache"

title "9. Meanwhile, the server rotates on its own"
await mt-root 2 active
works mt-root "$login_mt_root"
await mt-plesk 2 active
works mt-plesk "$login_mt_plesk"
note "Nobody has asked for it: the engine set a new password, restarted the server, and logged in."
await server 2 active
run 'vault read hosting/status/server'
expect last_proof_result works
run 'grep "role=server" vault.log | sed -E "s/^([^.]*).*hosting: ([^:=]*):.*/\1  \2/"'
run 'vault write hosting/roles/server rotation_period=30d'
works server "$login_server"

title "10. All roles"
# row prints a line of the table for a role and checks it: row ROLE VERSION LOGIN
row() {
	local role=$1 works=yes proof
	proof=$(vault read -field=last_proof_result "hosting/status/$role")
	vault read "hosting/creds/$role" >output
	[[ $(HOSTING_PASSWORD=$(value password) eval "$3" 2>&1) == 'login works' ]] || works=no
	# shellcheck disable=SC2059 # the format is defined below
	printf "$format" "$role" "$(value provider)" "$(value username)" "$(value version)" "$(value state)" "$proof" "$works"
	[[ "$(value version) $(value state) $proof $works" == "$2 active works yes" ]] || bad+=" $role"
}
bad='' format='%-9s %-12s %-8s %-8s %-7s %-15s %s\n'
# shellcheck disable=SC2059
printf "$format" ROLE PROVIDER ACCOUNT VERSION STATE "ENGINE'S LOGIN" "DEMO'S LOGIN"
row mt-plesk 2 "$login_mt_plesk"
row mt-root 2 "$login_mt_root"
row ops1 3 "$login_ops1"
row cache 4 "$login_cache"
row server 2 "$login_server"
[[ -z $bad ]] || fail "unexpected results for:$bad"
gives true "vault read -field=complete hosting/status"
run 'vault read -format=json -field=states hosting/status'
printf '\nDone in %d seconds, plus %d seconds to prepare the binaries.\n' $((SECONDS - begin)) "$begin"

# --- KEEP=1: stay up --------------------------------------------------------------------------------------------------

if [[ -n $keep && $keep != 0 ]]; then
	cat <<-TEXT

		Everything stays up until Ctrl-C. To use it from another terminal:

		  cd $work
		  export PATH=$work/bin:\$PATH
		  export VAULT_ADDR=$VAULT_ADDR VAULT_TOKEN=$VAULT_TOKEN VAULT_MAX_RETRIES=0
		  export CONTROL_URL=$CONTROL_URL PLESK_URL=$PLESK_URL
		  export MT_URL=$MT_URL MT_PANEL=$MT_PANEL MT_SSH=$MT_SSH MT_HOST_KEY=$MT_HOST_KEY SERVICE_ID=$SERVICE_ID
		  export CLOUDDC_URL=$CLOUDDC_URL WEB1_SSH=$WEB1_SSH WEB1_HOST_KEY=$WEB1_HOST_KEY
		  export PROJECT_ID=$PROJECT_ID ACCESS_KEY=$ACCESS_KEY WEB1=$WEB1
		  export DCS_URL=$DCS_URL REDIS_ADDR=$REDIS_ADDR INSTANCE_ID=$INSTANCE_ID ACCOUNT_ID=$ACCOUNT_ID

		  vault path-help hosting
		  vault read hosting/creds/ops1
		  vault read -format=json hosting/history/ops1
		  vault write -f -format=json hosting/verify-role/cache
		  vault read -field=password hosting/creds/cache | $login_cache

		  vault write hosting/rotate-role/server version=2  # restarts the server, in about 10 seconds
		  vault read hosting/status/server
		  vault read -field=password hosting/creds/server | $login_server
		  ssh -p ${WEB1_SSH##*:} -o UserKnownHostsFile=/dev/null root@${WEB1_SSH%:*}

		  curl \$CONTROL_URL                 # lists the faults and settings that you can simulate
		  curl -X PUT \$CONTROL_URL/v1/faults -d '{"system":"dcs","target":"*","kind":"busy"}'
		  curl -X PUT \$CONTROL_URL/v1/faults -d '{"system":"plesk","target":"ops1","kind":"apply-500","count":2}'
		  curl -X PUT \$CONTROL_URL/v1/switches -d '{"system":"mediatemple","job_fails":true}' # accepts changes, never applies them
		  curl -X DELETE \$CONTROL_URL/v1/faults

		Vault's log: $work/vault.log
	TEXT
	trap 'printf "\n"; exit 0' INT
	while all_run; do
		sleep 1
	done
	fail "Vault or the simulator stopped unexpectedly"
fi
