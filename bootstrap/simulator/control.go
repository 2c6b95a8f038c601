package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// help is what GET / answers.
const help = `hosting-simulator: control API (JSON, loopback only)

GET    /               this text
GET    /v1/state       addresses, accounts, failures and locks; no secrets
PUT    /v1/faults      {"system":"plesk","target":"ops1","kind":"apply-cut","count":1}
GET    /v1/faults
DELETE /v1/faults      ?system=&target= narrow it down; releases held answers
GET    /v1/journal     ?system=&target= narrow it down
DELETE /v1/journal
PUT    /v1/switches    {"system":"plesk","policy":"very-strong"}
POST   /v1/clock       {"advance_seconds":300}
PUT    /v1/passwords   {"system":"plesk","target":"ops1","password":"..."}
POST   /v1/restart     {"system":"ecs","target":"ID"}: an operator restarts a server

Systems: plesk, iam, dcs, ecs, mediatemple; for faults also redis and ssh (only busy, cut, unreachable), and panel, the Plesk
  panels of mediatemple's services.
Targets: a Plesk login, an IAM user, "instance_id/account_id", for mediatemple "service_id/root" or "service_id/plesk", for
  redis an instance id, for ecs, ssh and panel the id of the server; "*" is any.

Faults: refuse, reject-target, busy, throttle (variant json, empty or html; retry_after seconds), deny (variant forbidden),
  apply-cut, cut, apply-500, apply-502-html, apply-503-html, 500, 503-html, 200-no-success, 200-empty, 200-html,
  redirect (location), html, truncated, huge, slow (delay_ms), late (delay_ms, or variant held: until the fault is removed),
  hold (applied, no answer), stall (not applied, no answer), unreachable.
  "retry_after_date":true sends Retry-After as a date.
  "count":0 lasts until removed. "applied":true or false is for 200-no-success, 200-empty, 200-html, redirect, html,
  truncated and huge. "operations" is ["change"] unless given; others: check, list, token, root, login, restart.
  token is what iam has, root changes the caller's own credential (Plesk secret keys), login is a Redis AUTH or SSH,
  restart an operation of ecs, check what a panel is logged in at with (its default).

Switches:
  plesk  policy very-weak|weak|medium|strong|very-strong, alias_api denied|allowed, api on|off, language en|de|ja,
         output TEXT, pretty, echo_password, bind_keys, drop_underscore_headers true|false, lock_after N, lock_seconds N
  iam    token_lifetime_seconds N, user_lock_seconds N, project_mismatch 403|401, error_style keystone|iam,
         throttle_per_second N, throttle_variant json|empty|html, revoke_tokens true
  dcs    unknown_account 404|400, refusal_code DCS.4961|DCS.4019, fifth_failure passwordFailed|locked,
         missing_old refuse|passwordFailed, wrong_old result|DCS.4080, same_password refuse|accept,
         reset_while_locked allow|refuse, reset_keeps_count, two_argument_auth, echo_password, no_password_access true|false,
         settle_seconds N, lock_unit minutes|seconds, shape normal|null|absent|numbers, result WORD,
         instance_status STATUS, account_status STATUS
  ecs    strict, echo_password true|false, stopped_instances refuse|allow, stopped_servers allow|refuse, unknown_id 400|403|404,
         omit N|[ID], effective restart|now, partial {ID:CODE}, partial_status 400|500|200, partial_response absent|present,
         guest_script ok|fails, restart_ms N, restart_lag_ms N, restart_result success|fail, denied [ACTION],
         instance_state STATE|{ID:STATE}, operation_state likewise, server_status likewise, plugin true|false|{ID:true}
  mediatemple  job_ms N, jobs independent|exclusive, job_fails, maintenance, echo_password true|false, rules advice|none,
         foreign 403|404|401, query_key allowed|refused, http_status N
`

// control makes the control API.
func (s *Simulator) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, help) // the client may be gone
	})
	mux.HandleFunc("GET /v1/state", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.Status()) })
	mux.HandleFunc("GET /v1/faults", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]any{"faults": s.Faults()})
	})
	mux.HandleFunc("GET /v1/journal", narrowed(func(system, target string) (any, error) {
		return map[string]any{"entries": s.Journal(system, target)}, nil
	}))
	mux.HandleFunc("DELETE /v1/faults", narrowed(func(system, target string) (any, error) {
		return done, s.ClearFaults(system, target)
	}))
	mux.HandleFunc("DELETE /v1/journal", func(w http.ResponseWriter, _ *http.Request) {
		s.ClearJournal()
		reply(w, done)
	})
	mux.HandleFunc("PUT /v1/faults", change(func(body []byte) error {
		var f lab.Fault
		if err := lab.DecodeStrict(body, &f); err != nil {
			return err
		}
		return s.SetFault(f)
	}))
	mux.HandleFunc("PUT /v1/switches", change(s.putSwitches))
	mux.HandleFunc("POST /v1/clock", change(func(body []byte) error {
		var in struct {
			Seconds *int64 `json:"advance_seconds"`
		}
		if err := lab.DecodeStrict(body, &in); err != nil {
			return err
		}
		if in.Seconds == nil {
			return errors.New("advance_seconds is missing")
		}
		s.Advance(time.Duration(*in.Seconds) * time.Second)
		return nil
	}))
	mux.HandleFunc("PUT /v1/passwords", change(func(body []byte) error {
		var in struct {
			System, Target, Password string
		}
		if err := lab.DecodeStrict(body, &in); err != nil {
			return err
		}
		if in.Password == "" {
			return errors.New("password is missing")
		}
		return s.SetPassword(in.System, in.Target, in.Password)
	}))
	mux.HandleFunc("POST /v1/restart", change(func(body []byte) error {
		var in struct {
			System, Target string
		}
		if err := lab.DecodeStrict(body, &in); err != nil {
			return err
		}
		return s.Restart(in.System, in.Target)
	}))
	return mux
}

var done = map[string]bool{"ok": true}

// putSwitches changes the switches of one system in alphabetical order.
func (s *Simulator) putSwitches(body []byte) error {
	var in map[string]json.RawMessage
	if err := lab.DecodeStrict(body, &in); err != nil {
		return err
	}
	var system string
	if err := json.Unmarshal(in["system"], &system); err != nil {
		return errors.New("system is missing or no string")
	}
	delete(in, "system")
	names := make([]string, 0, len(in))
	for name := range in {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(names) == 0 {
		return errors.New("there is no switch in the request")
	}
	for _, name := range names {
		if err := s.Switch(system, name, in[name]); err != nil {
			return err
		}
	}
	return nil
}

// maxControlBody bounds what the control API reads.
const maxControlBody = 1 << 20

// change answers a request with a body.
func change(act func(body []byte) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxControlBody))
		if err == nil {
			err = act(body)
		}
		if err != nil {
			fail(w, err)
			return
		}
		reply(w, done)
	}
}

// narrowed answers a request with the parameters system and target.
func narrowed(act func(system, target string) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		for name := range query {
			if name != "system" && name != "target" {
				fail(w, fmt.Errorf("unknown parameter %q: use system and target", name))
				return
			}
		}
		answer, err := act(query.Get("system"), query.Get("target"))
		if err != nil {
			fail(w, err)
			return
		}
		reply(w, answer)
	}
}

func fail(w http.ResponseWriter, err error) {
	write(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
}

func reply(w http.ResponseWriter, value any) { write(w, http.StatusOK, value) }

func write(w http.ResponseWriter, status int, value any) {
	body, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		http.Error(w, "encoding the answer failed", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client may be gone
}
