package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// help is the answer to GET /, before the switches.
const help = `hosting-simulator control API (JSON)

GET    /               this text
GET    /v1/state       addresses, accounts, failures and locks; no secrets
PUT    /v1/faults      {"system":"plesk","target":"ops1","kind":"apply-cut","count":1}
GET    /v1/faults
DELETE /v1/faults      filter with ?system=&target=; releases held answers
GET    /v1/journal     filter with ?system=&target=
DELETE /v1/journal
PUT    /v1/switches    {"system":"plesk","policy":"very-strong"}
POST   /v1/clock       {"advance_seconds":300}
PUT    /v1/passwords   {"system":"plesk","target":"ops1","password":"..."}: change a password behind the engine's back
POST   /v1/restart     {"system":"ecs","target":"ID"}: restart a server, as an operator would

Systems: plesk, iam, dcs, ecs, mediatemple. For faults and switches only: ssh (faults busy, cut and unreachable) and panel (the
  Plesk panels of Media Temple services). For faults only: redis (as ssh, and stall).

The SSH ports ban a client after five refused logins in ten minutes, for ten minutes: its connections hang (switch fail2ban of
  ssh; off by default for plesk and panel). GET /v1/state has their host keys, and the times of refused logins.

Targets, "*" for any:
  plesk            login
  iam              user name
  dcs              instance_id/account_id
  mediatemple      service_id/root or service_id/plesk
  redis            instance id
  ecs, ssh, panel  server id (service id)

Kinds of faults. The request changes nothing unless it is "applied".
  refuse, reject-target, busy        the system's own error: password refused, no such account, busy
  throttle                           429; variant json, empty or html; retry_after in seconds
  deny                               the caller's credential is refused; variant forbidden: no permission
  cut, apply-cut                     the connection is closed without an answer; not applied, applied
  500, apply-500                     500; not applied, applied
  503-html, apply-503-html, apply-502-html
                                     a proxy's error page; not applied, applied, applied
  200-no-success, 200-empty, 200-html, redirect (location), html
                                     a misleading answer; not applied unless "applied":true
  truncated, huge                    a damaged answer; applied unless "applied":false
  slow                               the request is handled after delay_ms; variant held: when the fault is removed
  late                               the connection is cut and the change made after delay_ms; variant held: when the fault
                                     is removed
  hold                               applied; the answer is held until the fault is removed
  stall                              not applied; no answer, the connection is closed when the fault is removed
  unreachable                        connections are refused until the fault is removed

Further fields of a fault:
  "count"             how many requests it affects; 0, the default: until it is removed
  "retry_after_date"  true: send Retry-After as a date
  "operations"        classes of operations that it affects; default ["change"], for iam ["token"], for redis and ssh ["login"],
                      for panel ["check"]. Classes: change, check, list, token (IAM), root (changes the caller's own credential,
                      such as a Plesk secret key), login (Redis AUTH, the Web CLI of dcs, SSH), restart (ecs).

Restarts of ecs take restart_ms, during which SSH is down and further power actions are refused. A pending password takes
  effect when the server starts. restart_result: fail leaves the server as it is, off leaves it off, hang never ends.
  restart_host_key new: it comes back with another SSH host key. reboot_power on: CloudDC shows nothing of a reboot. denied:
  IAM actions that the caller lacks, such as ["clouddc:imetal:updatePowerStatus","ecs:cloudServers:reboot"].
  GET /v1/state counts restarts (starts of a server) and power_actions (accepted requests).

Switches, for PUT /v1/switches: system, name, values
`

// switchHelp lists the switches of all systems with their values.
func (s *Simulator) switchHelp() string {
	var b strings.Builder
	for _, system := range slices.Sorted(maps.Keys(s.systems)) {
		switches := s.systems[system].Switches()
		for _, name := range switches.Names() {
			fmt.Fprintf(&b, "  %-12s %-24s %s\n", system, name, switches[name].Values)
		}
	}
	return b.String()
}

// control returns the handler of the control API.
func (s *Simulator) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, help+s.switchHelp()) // the client may be gone
	})
	mux.HandleFunc("GET /v1/state", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.Status()) })
	mux.HandleFunc("GET /v1/faults", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]any{"faults": s.Faults()})
	})
	mux.HandleFunc("GET /v1/journal", filtered(func(system, target string) (any, error) {
		return map[string]any{"entries": s.Journal(system, target)}, nil
	}))
	mux.HandleFunc("DELETE /v1/faults", filtered(func(system, target string) (any, error) {
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

// putSwitches sets switches of one system, in alphabetical order.
func (s *Simulator) putSwitches(body []byte) error {
	var in map[string]json.RawMessage
	if err := lab.DecodeStrict(body, &in); err != nil {
		return err
	}
	var system string
	if err := json.Unmarshal(in["system"], &system); err != nil {
		return errors.New("system is missing or not a string")
	}
	delete(in, "system")
	names := make([]string, 0, len(in))
	for name := range in {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(names) == 0 {
		return errors.New("the request names no switch")
	}
	for _, name := range names {
		if err := s.Switch(system, name, in[name]); err != nil {
			return err
		}
	}
	return nil
}

// maxControlBody limits the size of a request to the control API.
const maxControlBody = 1 << 20

// change handles a request with a body.
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

// filtered handles a request with the parameters system and target.
func filtered(act func(system, target string) (any, error)) http.HandlerFunc {
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
