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

# run prints a command and runs it. Its output is kept for "value".
run() {
	printf '\n%s$ %s%s\n' "$bold" "$1" "$plain"
	eval "$1" 2>&1 | tee "$work/output" | mask || fail "the command above failed"
}

# run_refused prints a command and runs it. The command must fail, and its output must contain the text.
run_refused() {
	printf '\n%s$ %s%s\n' "$bold" "$1" "$plain"
	if eval "$1" >"$work/output" 2>&1; then
		mask <"$work/output"
		fail "the command above succeeded but should have failed"
	fi
	mask <"$work/output"
	grep -q -- "$2" "$work/output" || fail "the command above failed, but not with \"$2\""
}

# value prints a field from the output of the last "run".
value() { awk -v name="$1" '$1 == name { sub(/^[^ ]+ +/, ""); print }' "$work/output"; }

# expect checks a field in the output of the last "run".
expect() {
	local got
	got=$(value "$1")
	[[ $got == "$2" ]] || fail "$1 is \"$got\", want \"$2\""
}

# has and lacks check whether the output of the last "run" has a field, without printing its value.
has() { [[ -n $(value "$1") ]] || fail "the output has no $1"; }
lacks() { [[ -z $(value "$1") ]] || fail "the output still has $1"; }

# says checks how many lines in the output of the last "run" contain a text.
says() { (($(grep -c -F -- "$1" "$work/output") == $2)) || fail "the number of lines with $1 is not $2"; }

# await polls a field of status/ROLE until it has the wanted value.
await() {
	local role=$1 field=$2 wanted=$3 begin=$SECONDS got=''
	while ((SECONDS - begin < 60)); do
		got=$(vault read -field="$field" "hosting/status/$role")
		if [[ $got == "$wanted" ]]; then
			note "$role: $field is now $wanted (waited $((SECONDS - begin)) s)."
			return
		fi
		sleep 0.2
	done
	fail "after a minute, $field of $role is \"$got\", want \"$wanted\""
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

# address prints an address that the simulator announced: address NAME..., the start of the line ("redis", or "ssh ecs ID").
address() { awk -v begin="$*" '{ line = $0; gsub(/ +/, " ", line) } index(line, begin " ") == 1 { print $NF }' simulator.log; }

start_simulator() {
	start simulator.log hosting-simulator -state remote.json -ca-file ca.pem
	until_ready simulator.log grep -q '^ready$' simulator.log || fail "the simulator did not start"
	CONTROL_URL=$(address control)
	MT_URL=$(address mediatemple) MT_PANEL=$(address panel "$SERVICE_ID") MT_SSH=$(address ssh mediatemple "$SERVICE_ID")
	PLESK_URL=$(address plesk)
	CLOUDDC_URL=$(address clouddc) WEB1_SSH=$(address ssh ecs "$WEB1") WEB2_SSH=$(address ssh ecs "$WEB2")
	DCS_URL=$(address dcs) REDIS_ADDR=$(address redis)
	export CONTROL_URL MT_URL MT_PANEL MT_SSH PLESK_URL CLOUDDC_URL WEB1_SSH WEB2_SSH DCS_URL REDIS_ADDR
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
		      {"id": "$WEB1", "server_id": "physical-1", "name": "web1", "project_id": "$PROJECT_ID", "password": "$server"},
		      {"id": "$WEB2", "server_id": "physical-2", "name": "web2", "project_id": "$PROJECT_ID", "password": "$server"}
		    ]
		  },
		  "dcs": {
		    "instances": [{
		      "id": "$INSTANCE_ID", "name": "cache", "project_id": "$PROJECT_ID", "engine_version": "5.0",
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
export WEB1=0197f36d-1111-7258-b177-3784b7887a17 WEB2=0197f36d-2222-7258-b177-3784b7887a17 SERVICE_ID=556
remote_systems
start_simulator
start_vault
vault operator init -key-shares=1 -key-threshold=1 >init.txt
VAULT_TOKEN=$(sed -n 's/^Initial Root Token: //p' init.txt)
export VAULT_TOKEN
sed -n 's/^Unseal Key 1: //p' init.txt | tr -d '\n' >unseal.key
vault write sys/unseal key=@unseal.key >/dev/null
# Show each error once: by default the vault CLI retries requests that fail with 5xx, and would get the same answer.
export VAULT_MAX_RETRIES=0

note "$(vault version | cut -d , -f 1) is running at $VAULT_ADDR. These remote systems are simulated:" \
	"  Media Temple API at $MT_URL, with one server (SSH at $MT_SSH, Plesk panel at $MT_PANEL)" \
	"  Plesk server at $PLESK_URL" \
	"  Huawei Cloud CloudDC at $CLOUDDC_URL, with two servers (SSH at $WEB1_SSH and $WEB2_SSH)" \
	"  Huawei Cloud DCS at $DCS_URL, with one Redis instance at $REDIS_ADDR"

# --- The engine -------------------------------------------------------------------------------------------------------

title "1. Register the plugin with its SHA-256 and enable it"
run "sha256sum plugins/$plugin"
SHA256=$(cut -d ' ' -f 1 output)
export SHA256
run "vault plugin register -sha256=\"\$SHA256\" -version=$version secret $plugin"
run "vault secrets enable -path=hosting -plugin-version=$version $plugin"

title "2. Connect to four remote systems"
note "The engine tests each connection before it stores it. Secrets are read from files, so they appear in no command." \
	"Media Temple deprecated its API in 2018 and no longer issues keys; this provider is for holders of an existing key."
run 'vault write hosting/config/mt provider=mediatemple url="$MT_URL" ca_cert=@ca.pem \
    api_key=@mt.key settle_after=5s allowed_roles="mt-*"'
run 'vault write hosting/config/panel provider=plesk url="$PLESK_URL" ca_cert=@ca.pem \
    secret_key=@plesk.key allowed_roles="ops*"'
run 'vault write hosting/config/servers provider=ecs url="$CLOUDDC_URL" ca_cert=@ca.pem project_id="$PROJECT_ID" \
    access_key="$ACCESS_KEY" secret_key=@cloud.key allowed_roles=server'
run 'vault write hosting/config/redis provider=dcs url="$DCS_URL" ca_cert=@ca.pem project_id="$PROJECT_ID" \
    access_key="$ACCESS_KEY" secret_key=@cloud.key allowed_roles=cache'

title "3. Put five accounts under Vault's management"
note "Creating a role sets a first password. Media Temple only queues the change, so the state is \"accepted\":"
run 'vault write hosting/roles/mt-plesk connection=mt service_id="$SERVICE_ID" account=plesk'
expect state accepted
run 'vault write hosting/roles/mt-root connection=mt service_id="$SERVICE_ID" account=root'
expect state accepted
run 'vault write hosting/roles/ops1 connection=panel login=ops1'
expect state active
note "DCS requires the current password of a Redis account to change it, so the role starts with that password:"
run 'vault write hosting/roles/cache connection=redis instance_id="$INSTANCE_ID" account_id="$ACCOUNT_ID" \
    username=app password=@app.password'
expect state active
note "Two servers share a password. A new one would take effect only after a restart, so this role keeps the current one." \
	"Its state is \"assumed\": the operator says that it is in force, and the engine has no proof:"
run 'vault write hosting/roles/server connection=servers instance_ids="$WEB1,$WEB2" \
    skip_initial_rotation=true password=@server.password'
expect state assumed

title "4. Read a password and log in with it"
note "The demo truncates passwords to three characters; vault read prints them in full."
run 'vault read hosting/creds/ops1'
expect version 1
note "Plesk does not document whether additional administrators may use the XML API, so the simulator denies it by default." \
	"The demo needs it to prove that a password works, so it allows it. (\"control\" sends a request to the simulator's" \
	"control API, like curl -X METHOD -d JSON \"\$CONTROL_URL/PATH\".)"
run "control PUT /v1/switches '{\"system\":\"plesk\",\"alias_api\":\"allowed\"}'"
login_mt_plesk='hosting-simulator login plesk -url "$MT_PANEL" -ca-file ca.pem -username admin'
login_mt_root='hosting-simulator login ssh -addr "$MT_SSH" -username root'
login_ops1='hosting-simulator login plesk -url "$PLESK_URL" -ca-file ca.pem -username ops1'
login_web1='hosting-simulator login ssh -addr "$WEB1_SSH" -username root'
login_web2='hosting-simulator login ssh -addr "$WEB2_SSH" -username root'
login_cache='hosting-simulator login redis -addr "$REDIS_ADDR" -username app'
run "vault read -field=password hosting/creds/ops1 | $login_ops1"
run "vault read -field=password hosting/creds/cache | $login_cache"
run "vault read -field=password hosting/creds/server | $login_web1"
run "vault read -field=password hosting/creds/server | $login_web2"
note "Media Temple does not report when a queued password takes effect. After settle_after (5s here), the engine assumes it has:"
await mt-plesk state assumed
await mt-root state assumed
run "vault read -field=password hosting/creds/mt-plesk | $login_mt_plesk"
run "vault read -field=password hosting/creds/mt-root | $login_mt_root"

title "5. Rotate, read and log in again"
vault read -field=password hosting/creds/ops1 >old.password
note "version is the one to replace. Vault's client repeats a request after an HTTP 5xx: with version, that makes no second change."
run 'vault write hosting/rotate-role/ops1 version=1'
run 'vault read hosting/creds/ops1'
expect version 2
run "vault read -field=password hosting/creds/ops1 | $login_ops1"
note "The old password, which the demo kept in a file, no longer works:"
run_refused "$login_ops1 <old.password" 'login refused'
run 'vault write hosting/rotate-role/cache version=2'
expect version 3
run "vault read -field=password hosting/creds/cache | $login_cache"

title "6. Accepted, not yet in force: Media Temple sets a password later and does not report when"
note "Make the simulated job take 4 seconds, less than settle_after (5s):"
run "control PUT /v1/switches '{\"system\":\"mediatemple\",\"job_ms\":4000}'"
vault read -field=password hosting/creds/mt-root >old.root
vault read -field=password hosting/creds/mt-plesk >old.plesk
run 'vault write hosting/rotate-role/mt-root version=1'
expect state accepted
note "Until then, password is the one that works now, and next_password is the queued one:"
run 'vault read hosting/creds/mt-root'
expect version 1
expect state accepted
has next_password
next=$(value next_password)
run "vault read -field=password hosting/creds/mt-root | $login_mt_root"
run_refused "vault read -field=next_password hosting/creds/mt-root | $login_mt_root" 'login refused'
note "The same for the administrator of the server's Plesk panel:"
run 'vault write hosting/rotate-role/mt-plesk version=1'
expect state accepted
await mt-root state assumed
run 'vault read hosting/creds/mt-root'
expect version 2
lacks next_password
[[ $(value password) == "$next" ]] || fail "the password in force is not the one that was queued"
run "vault read -field=password hosting/creds/mt-root | $login_mt_root"
run_refused "$login_mt_root <old.root" 'login refused'
await mt-plesk state assumed
run "vault read -field=password hosting/creds/mt-plesk | $login_mt_plesk"
run_refused "$login_mt_plesk <old.plesk" 'login refused'

title "7. Set, not yet in force: a server applies its new password when it restarts"
run 'vault write hosting/rotate-role/server version=1'
expect state restart_required
note "Both servers still use the previous password, so it remains password. The new one is next_password:"
run 'vault read hosting/creds/server'
expect version 1
has next_password
run "vault read -field=password hosting/creds/server | $login_web1"
run 'vault read hosting/status/server'
expect next_version 2
has servers
note "Restart one server, as its operator would. From now on that server, and only that one, uses next_password:"
run 'control POST /v1/restart "{\"system\":\"ecs\",\"target\":\"$WEB1\"}"'
run "vault read -field=next_password hosting/creds/server | $login_web1"
run_refused "vault read -field=next_password hosting/creds/server | $login_web2" 'login refused'
note "The cloud does not report this, so the operator confirms it:"
run 'vault write hosting/confirm-role/server version=2 servers="$WEB1"'
expect state restart_required
run 'vault read -format=json -field=servers hosting/status/server'
says '"state": "assumed"' 1
says '"state": "restart_required"' 1
note "Restart the other server and confirm again. Now the new password is in force on both:"
run 'control POST /v1/restart "{\"system\":\"ecs\",\"target\":\"$WEB2\"}"'
run 'vault write hosting/confirm-role/server version=2'
expect state assumed
run 'vault read hosting/creds/server'
expect version 2
lacks next_password
run "vault read -field=password hosting/creds/server | $login_web1"
run "vault read -field=password hosting/creds/server | $login_web2"

title "8. An outage: Plesk is unreachable"
run "control PUT /v1/faults '{\"system\":\"plesk\",\"target\":\"*\",\"kind\":\"unreachable\"}'"
note "A rotation fails and reports that the password was not changed:"
run_refused 'vault write hosting/rotate-role/ops1 version=2' 'Code: 502'
note "Readers are not affected. They still get the password in force:"
run 'vault read hosting/creds/ops1'
expect version 2
expect state active
note "The role's status shows the problem:"
run 'vault read hosting/status/ops1'
expect last_error_class unreachable
note "When Plesk is back, the engine retries automatically and completes the requested rotation:"
run "control DELETE '/v1/faults?system=plesk'"
await ops1 version 3
run "vault read -field=password hosting/creds/ops1 | $login_ops1"

title "9. The worst case: Plesk changes the password, but the response is lost"
run "control PUT /v1/faults '{\"system\":\"plesk\",\"target\":\"ops1\",\"kind\":\"apply-cut\",\"count\":1}'"
note "Either password may now be in force. The engine stored the new one before sending it, and keeps both:"
run 'vault write hosting/rotate-role/ops1 version=3'
expect state uncertain
run 'vault read hosting/creds/ops1'
has next_password
run 'vault read hosting/status/ops1'
note "The engine sends the same password again until Plesk confirms it:"
await ops1 state active
run "vault read -field=password hosting/creds/ops1 | $login_ops1"

title "10. Summary of all roles, with a login for each"
note "Leave two changes pending on purpose. First make Media Temple take nearly a minute:"
run 'vault write hosting/config/mt settle_after=1m'
run "control PUT /v1/switches '{\"system\":\"mediatemple\",\"job_ms\":50000}'"
run 'vault write hosting/rotate-role/mt-root version=2'
expect state accepted
run 'vault write hosting/rotate-role/server version=2'
expect state restart_required

format='%-8s  %-11s  %-7s  %-7s  %-17s  %-16s  %s\n'
# row prints a line of the summary for a role and checks it: row ROLE VERSION NEXT-VERSION STATE LOGIN...
row() {
	local role=$1 wanted="$2 $3 $4" next pending works=yes login
	shift 4
	vault read "hosting/status/$role" >output
	next=$(value next_version) pending=-
	vault read "hosting/creds/$role" >output
	case $(value state) in
	accepted) pending="$next (queued)" ;;
	restart_required) pending="$next (restart)" ;;
	esac
	for login; do
		[[ $(HOSTING_PASSWORD=$(value password) eval "$login" 2>&1) == 'login works' ]] || works=no
	done
	# shellcheck disable=SC2059 # the format is defined above
	printf "$format" "$role" "$(value provider)" "$(value username)" "$(value version)" "$pending" "$(value state)" "$works"
	[[ "$(value version) ${next:--} $(value state) $works" == "$wanted yes" ]] || bad+=" $role"
}
bad=''
# shellcheck disable=SC2059
printf "\n$format" ROLE PROVIDER ACCOUNT VERSION PENDING STATE 'LOGIN WORKS'
row mt-plesk 2 - assumed "$login_mt_plesk"
row mt-root 2 3 accepted "$login_mt_root"
row ops1 4 - active "$login_ops1"
row server 2 3 restart_required "$login_web1" "$login_web2"
row cache 3 - active "$login_cache"
[[ -z $bad ]] || fail "unexpected results for:$bad"
note "VERSION is the password in force: creds returns it as password, and the login used it. PENDING is next_password." \
	"mt-root's counts as in force after settle_after (1m), server's once both servers have restarted and an operator has" \
	"confirmed it with confirm-role."
printf '\nDone in %d seconds, plus %d seconds to prepare the binaries.\n' $((SECONDS - begin)) "$begin"

# --- KEEP=1: stay up --------------------------------------------------------------------------------------------------

if [[ -n $keep && $keep != 0 ]]; then
	cat <<-TEXT

		Everything stays up until Ctrl-C. To use it from another terminal:

		  cd $work
		  export PATH=$work/bin:\$PATH
		  export VAULT_ADDR=$VAULT_ADDR VAULT_TOKEN=$VAULT_TOKEN VAULT_MAX_RETRIES=0
		  export CONTROL_URL=$CONTROL_URL PLESK_URL=$PLESK_URL
		  export MT_URL=$MT_URL MT_PANEL=$MT_PANEL MT_SSH=$MT_SSH SERVICE_ID=$SERVICE_ID
		  export CLOUDDC_URL=$CLOUDDC_URL WEB1_SSH=$WEB1_SSH WEB2_SSH=$WEB2_SSH
		  export PROJECT_ID=$PROJECT_ID ACCESS_KEY=$ACCESS_KEY WEB1=$WEB1 WEB2=$WEB2
		  export DCS_URL=$DCS_URL REDIS_ADDR=$REDIS_ADDR INSTANCE_ID=$INSTANCE_ID ACCOUNT_ID=$ACCOUNT_ID

		  vault path-help hosting
		  vault read hosting/creds/ops1
		  vault read hosting/history/ops1
		  vault read -field=password hosting/creds/cache | $login_cache

		  vault read hosting/status/mt-root  # queued, for about a minute
		  vault read hosting/status/server   # waiting for restart; restart both servers and confirm:
		  control POST /v1/restart '{"system":"ecs","target":"$WEB1"}'
		  control POST /v1/restart '{"system":"ecs","target":"$WEB2"}'
		  vault write hosting/confirm-role/server version=3
		  vault read -field=password hosting/creds/server | $login_web1
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
