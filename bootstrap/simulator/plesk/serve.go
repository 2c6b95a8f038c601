package plesk

import (
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// Path is the only path of the XML API.
const Path = "/enterprise/control/agent.php"

// maxPacket limits the size of a packet.
const maxPacket = 1 << 20

// ServeHTTP serves the XML API.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status := 0
	switch {
	case r.URL.Path != Path || r.URL.RawQuery != "":
		status = http.StatusNotFound
	case r.Method != http.MethodPost:
		status = http.StatusMethodNotAllowed
	case r.ContentLength < 0:
		status = http.StatusLengthRequired // Content-Length is documented as required
	case r.ContentLength > maxPacket:
		status = http.StatusRequestEntityTooLarge
	}
	if status != 0 {
		s.note("", "http", strconv.Itoa(status))
		lab.Send(w, lab.Response{Status: status, Type: "text/html", Body: []byte("<html><body>" + http.StatusText(status) + "</body></html>\n")})
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.note("", "http", "incomplete body")
		panic(http.ErrAbortHandler)
	}
	pretty := strings.EqualFold(r.Header.Get("HTTP_PRETTY_PRINT"), "TRUE")
	who, packet, code := s.checkUp(r, body)
	if code != codeOK {
		login, _ := single(r.Header, "HTTP_AUTH_LOGIN")
		s.note(s.knownLogin(login), "check-up", "system "+strconv.Itoa(code))
		s.mu.Lock()
		response := s.system(code, "", pretty)
		s.mu.Unlock()
		lab.Send(w, response)
		return
	}
	s.lab.Serve(w, r, s.call(who, packet, body, r.RemoteAddr, pretty))
}

// note adds a request that did not become a call to the journal.
func (s *Server) note(target, operation, result string) {
	if s.panel.Target != "" {
		target = s.panel.Target
	}
	s.lab.Journal.Add(lab.Entry{System: s.panel.System, Target: target, Operation: operation, Result: result})
}

// knownLogin returns the login if it exists, or "". Other names are kept out of the
// journal: clients can send anything, even a password.
func (s *Server) knownLogin(login string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.EqualFold(login, AdminLogin) {
		return AdminLogin
	}
	if a := s.alias(login); a != nil {
		return a.Login
	}
	return ""
}

// checkUp performs the checks that Plesk makes before it runs any operation:
// authentication, content type, XML, version, schema.
func (s *Server) checkUp(r *http.Request, body []byte) (caller, *node, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	who, code := s.authenticate(r)
	if code == codeWrongLogin || code == codeKey || code == codeLocked {
		s.fail2ban.Refused(r.RemoteAddr)
	}
	if code != codeOK {
		return who, nil, code
	}
	if s.switches.systemError != codeOK {
		return who, nil, s.switches.systemError
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "text/xml" {
		return who, nil, codeParse // assumed: the code; the header is documented as mandatory
	}
	packet, err := parse(body)
	if err != nil {
		return who, nil, codeParse
	}
	for _, a := range packet.attrs {
		if a.Name.Space == "" && a.Name.Local == "version" && !slices.Contains(protocols, a.Value) {
			return who, nil, codeVersion
		}
	}
	if err := validate(packet); err != nil {
		return who, nil, codeParse
	}
	return who, packet, codeOK
}

// operation is one operation of a packet.
type operation struct {
	operator string // server or secret_key
	node     *node
	targets  []string
	class    string
}

func operations(packet *node, who caller) []operation {
	var result []operation
	for _, operator := range packet.children {
		for _, n := range operator.children {
			op := operation{operator: operator.name, node: n, class: lab.OpCheck, targets: []string{who.login}}
			switch n.name {
			case "set-admin-alias", "del-admin-alias":
				op.class, op.targets = lab.OpChange, nil
				for _, login := range n.child("filter").children {
					op.targets = append(op.targets, collapse(login.text))
				}
			case "add-admin-alias":
				login, _ := n.child("data").value("login")
				op.class, op.targets = lab.OpChange, []string{login}
			case "set":
				op.class, op.targets = lab.OpRoot, []string{AdminLogin}
			case "create", "delete":
				op.class, op.targets = lab.OpRoot, []string{"secret_key"}
			}
			result = append(result, op)
		}
	}
	return result
}

// call converts a packet to a call. A packet with several operations is a change if
// one of them is, and has the targets of all operations of its class.
func (s *Server) call(who caller, packet *node, body []byte, remote string, pretty bool) lab.Call {
	ops := operations(packet, who)
	c := lab.Call{System: s.panel.System, Operation: ops[0].node.name, Class: ops[0].class, Body: body}
	quote := ""
	for _, op := range ops {
		if op.class == lab.OpChange {
			c.Class, c.Operation = op.class, op.node.name
		}
		if data := op.node.child("data"); data != nil {
			quote, _ = data.value("password")
		}
	}
	for _, op := range ops {
		for _, t := range op.targets {
			if op.class == c.Class && !slices.Contains(c.Targets, t) {
				c.Targets = append(c.Targets, t)
			}
		}
	}
	c.Execute = func() (lab.Response, []lab.Outcome) { return s.execute(who, ops, remote, pretty) }
	if s.panel.Target != "" {
		c.Targets = []string{s.panel.Target}
		c.Execute = func() (lab.Response, []lab.Outcome) {
			response, outcomes := s.execute(who, ops, remote, pretty)
			for i := range outcomes {
				outcomes[i].Target = s.panel.Target
			}
			return response, outcomes
		}
	}
	if c.Class == lab.OpChange {
		c.Password = quote
	}
	c.Word = func(f lab.Fault) (lab.Response, string, bool) { return s.word(f, ops, quote, pretty) }
	return c
}

// word returns Plesk's own answers for faults.
func (s *Server) word(f lab.Fault, ops []operation, quote string, pretty bool) (lab.Response, string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	system := func(code int) (lab.Response, string, bool) {
		return s.system(code, quote, pretty), "system " + strconv.Itoa(code), true
	}
	result := func(code int) (lab.Response, string, bool) {
		op := ops[0]
		answer := group(op.operator, group(op.node.name, s.status("result", code, quote)))
		return s.packet(pretty, answer), strconv.Itoa(code), true
	}
	switch f.Kind {
	case lab.Refuse:
		return result(codeWeak)
	case lab.RejectTarget:
		return result(codeNotFound)
	case lab.NoSuccess:
		if f.Variant == "no-result" {
			return s.packet(pretty, group(ops[0].operator, group(ops[0].node.name))), "no result", true
		}
		return result(codeFailed)
	case lab.Busy:
		return system(codeBusy)
	case lab.Deny:
		if f.Variant == "forbidden" {
			return result(codeNoPermission)
		}
		return system(codeWrongLogin)
	case lab.Throttle: // from a gateway in front of Plesk, which itself never throttles
		return lab.Response{Status: http.StatusTooManyRequests, Type: "application/json",
			Body: []byte(`{"message":"Too Many Requests"}`)}, "429", true
	case lab.Err500:
		return lab.Response{Status: http.StatusInternalServerError, Type: "text/plain", Body: []byte("Internal Server Error\n")}, "500", true
	default:
		return lab.Response{}, "", false
	}
}
