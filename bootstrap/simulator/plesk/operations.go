package plesk

import (
	"net"
	"strconv"
	"strings"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// execute runs the operations of a packet in order.
func (s *Server) execute(who caller, ops []operation, remote string, pretty bool) (lab.Response, []lab.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var nodes []xmlNode
	var outcomes []lab.Outcome
	for _, op := range ops {
		answer, done := s.run(who, op, remote)
		outcomes = append(outcomes, done...)
		if n := len(nodes); n > 0 && nodes[n-1].name == op.operator {
			nodes[n-1].children = append(nodes[n-1].children, answer)
		} else {
			nodes = append(nodes, group(op.operator, answer))
		}
	}
	return s.packet(pretty, nodes...), outcomes
}

// run runs one operation.
func (s *Server) run(who caller, op operation, remote string) (xmlNode, []lab.Outcome) {
	name := op.node.name
	simple := func(code int, quote string, more ...xmlNode) (xmlNode, []lab.Outcome) {
		changed := code == codeOK && op.class != lab.OpCheck
		outcomes := make([]lab.Outcome, 0, len(op.targets))
		for _, t := range op.targets {
			outcomes = append(outcomes, lab.Outcome{Target: t, Result: resultName(code), Applied: changed})
		}
		return group(name, s.status("result", code, quote, more...)), outcomes
	}
	if name == "get_protos" {
		// Documented for the administrator, resellers and customers:
		// https://docs.plesk.com/en-US/obsidian/api-rpc/reference/managing-plesk-server/getting-supported-protocols.36172
		protos := make([]xmlNode, 0, len(protocols))
		for _, p := range protocols {
			protos = append(protos, leaf("proto", p))
		}
		return simple(codeOK, "", group("protos", protos...))
	}
	if !who.admin {
		return simple(codeNoPermission, "") // additional administrators may not manage other accounts or server settings
	}
	switch name {
	case "get":
		if op.node.child("gen_info") == nil {
			return simple(codeOK, "")
		}
		return simple(codeOK, "", group("gen_info", leaf("server_name", "plesk.example.com"), leaf("server_guid", s.guid)))
	case "set":
		if password, ok := op.node.value("password"); ok {
			if code := checkPassword(AdminLogin, password, s.switches.policy); code != codeOK {
				return simple(code, password)
			}
			s.panel.SetPassword(password)
			s.adminChanges++
		}
		return simple(codeOK, "")
	case "add-admin-alias":
		data := op.node.child("data")
		password, _ := data.value("password")
		return simple(s.addAlias(data), password)
	case "set-admin-alias":
		return s.setAliases(op)
	case "del-admin-alias":
		return s.deleteAliases(op)
	case "create":
		key, code := s.createKey(op.node, remote)
		if code != codeOK {
			return simple(code, "")
		}
		return simple(codeOK, "", leaf("key", key))
	}
	return s.filterKeys(op)
}

func resultName(code int) string {
	if code == codeOK {
		return "ok"
	}
	return strconv.Itoa(code)
}

// addAlias creates an alias. In the schema all data is optional, but the
// documentation requires these four fields. Assumed: the code for a missing one.
func (s *Server) addAlias(data *node) int {
	var a Alias
	for name, into := range map[string]*string{"login": &a.Login, "password": &a.Password, "email": &a.Email, "contact": &a.Contact} {
		value, _ := data.value(name)
		if value == "" {
			return codeInvalid
		}
		*into = value
	}
	if strings.EqualFold(a.Login, AdminLogin) || s.alias(a.Login) != nil {
		return codeExists
	}
	if code := checkPassword(a.Login, a.Password, s.switches.policy); code != codeOK {
		return code
	}
	a.Comment, _ = data.value("comment")
	if status, ok := data.value("status"); ok {
		a.Disabled = status == "false" || status == "0"
	}
	s.aliases = append(s.aliases, &account{Alias: a})
	return codeOK
}

// setAliases changes the aliases in the filter, in order. There is a single result
// for all of them; after an error, those before it stay changed.
func (s *Server) setAliases(op operation) (xmlNode, []lab.Outcome) {
	data := op.node.child("data")
	password, _ := data.value("password")
	var outcomes []lab.Outcome
	for _, login := range op.targets {
		code := s.setAlias(login, data)
		if code == codeNotFound && s.switches.unknown == "no-result" {
			outcomes = append(outcomes, lab.Outcome{Target: login, Result: "no result"})
			return group(op.node.name), outcomes
		}
		outcomes = append(outcomes, lab.Outcome{Target: login, Result: resultName(code), Applied: code == codeOK})
		if code != codeOK {
			return group(op.node.name, s.status("result", code, password)), outcomes
		}
	}
	return group(op.node.name, s.status("result", codeOK, "")), outcomes
}

// setAlias changes one alias. Assumed: an absent status keeps the current one,
// although its default in the schema is true.
func (s *Server) setAlias(login string, data *node) int {
	a := s.alias(login)
	if a == nil {
		return codeNotFound
	}
	changed := a.Alias
	if name, ok := data.value("login"); ok {
		if other := s.alias(name); (other != nil && other != a) || strings.EqualFold(name, AdminLogin) {
			return codeExists
		}
		if name == "" {
			return codeInvalid
		}
		changed.Login = name
	}
	password, hasPassword := data.value("password")
	if hasPassword {
		if code := checkPassword(changed.Login, password, s.switches.policy); code != codeOK {
			return code
		}
		changed.Password = password
	}
	for name, into := range map[string]*string{"email": &changed.Email, "contact": &changed.Contact, "comment": &changed.Comment} {
		if value, ok := data.value(name); ok {
			*into = value
		}
	}
	if status, ok := data.value("status"); ok {
		changed.Disabled = status == "false" || status == "0"
	}
	if hasPassword {
		a.changes++
	}
	a.Alias = changed
	return codeOK
}

func (s *Server) deleteAliases(op operation) (xmlNode, []lab.Outcome) {
	var outcomes []lab.Outcome
	for _, login := range op.targets {
		a := s.alias(login)
		if a == nil {
			outcomes = append(outcomes, lab.Outcome{Target: login, Result: resultName(codeNotFound)})
			return group(op.node.name, s.status("result", codeNotFound, "")), outcomes
		}
		for i := range s.aliases {
			if s.aliases[i] == a {
				s.aliases = append(s.aliases[:i:i], s.aliases[i+1:]...)
				break
			}
		}
		outcomes = append(outcomes, lab.Outcome{Target: login, Result: "ok", Applied: true})
	}
	return group(op.node.name, s.status("result", codeOK, "")), outcomes
}

// createKey creates a secret key. Without an address it is bound to the sender's:
// https://docs.plesk.com/en-US/obsidian/api-rpc/about-xml-api/reference/managing-secret-keys/creating-secret-key.37131
func (s *Server) createKey(n *node, remote string) (string, int) {
	k := &SecretKey{Key: lab.RandomUUID(), ID: lab.RandomUUID()}
	k.IPAddress, _ = n.value("ip_address")
	k.Description, _ = n.value("description")
	k.Login, _ = n.value("login")
	for address := range strings.SplitSeq(k.IPAddress, ",") {
		if k.IPAddress != "" && net.ParseIP(strings.TrimSpace(address)) == nil {
			return "", codeInvalid
		}
	}
	if k.Login != "" && !strings.EqualFold(k.Login, AdminLogin) && s.alias(k.Login) == nil {
		return "", codeNotFound
	}
	if k.IPAddress == "" && s.switches.bindKeys {
		host, _, err := net.SplitHostPort(remote)
		if err != nil {
			return "", codeFailed
		}
		k.IPAddress = host
	}
	s.keys = append(s.keys, k)
	return k.Key, codeOK
}

// filterKeys implements get_info and delete. The filter takes keys or their ids;
// an empty filter matches every key of the server:
// https://docs.plesk.com/en-US/obsidian/api-rpc/about-xml-api/reference/managing-secret-keys/deleting-secret-keys.37156
func (s *Server) filterKeys(op operation) (xmlNode, []lab.Outcome) {
	var wanted []string
	for _, k := range op.node.child("filter").children {
		wanted = append(wanted, collapse(k.text))
	}
	if len(wanted) == 0 {
		for _, k := range s.keys {
			wanted = append(wanted, k.ID)
		}
	}
	var results []xmlNode
	var outcomes []lab.Outcome
	for _, w := range wanted {
		i := s.findKey(w)
		code := codeNotFound
		more := leaf("key", w)
		if i >= 0 {
			code = codeOK
			if op.node.name == "get_info" {
				more = keyInfo(s.keys[i])
			} else {
				s.keys = append(s.keys[:i:i], s.keys[i+1:]...)
			}
		}
		results = append(results, s.status("result", code, "", more))
		for _, t := range op.targets {
			outcomes = append(outcomes, lab.Outcome{Target: t, Result: resultName(code), Applied: code == codeOK && op.class != lab.OpCheck})
		}
	}
	if len(results) == 0 {
		results = append(results, s.status("result", codeOK, ""))
	}
	return group(op.node.name, results...), outcomes
}

func (s *Server) findKey(valueOrID string) int {
	for i, k := range s.keys {
		if lab.Same(k.Key, valueOrID) || k.ID == valueOrID {
			return i
		}
	}
	return -1
}

// keyInfo describes a key. Plesk stores only a hash of the key and returns its id
// in place of the key.
func keyInfo(k *SecretKey) xmlNode {
	login := k.Login
	if login == "" {
		login = AdminLogin
	}
	return group("key_info", leaf("key", k.ID), leaf("ip_address", k.IPAddress), leaf("description", k.Description), leaf("login", login))
}
