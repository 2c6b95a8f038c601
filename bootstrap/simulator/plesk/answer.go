package plesk

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"strconv"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// errtexts are the panel's error texts, by language. Clients must not depend on
// them: they are in the panel's default language.
var errtexts = map[string]map[int]string{
	"en": {
		codeWrongLogin: "You have entered incorrect username or password.", codeExists: "User account already exists.",
		codeSetup: "Initial setup of the panel is not completed.", codeVersion: "Unsupported protocol version.", codeNoPermission: "Permission denied.", codeBusy: "Multiple access denied.",
		codeNoAccess: "Access to the panel is denied.", codeDisabled: "Account is disabled.", codeLocked: "Login is locked up.",
		codeNotFound: "Object does not exist.", codeParse: "Parser error: wrong format of the XML request.",
		codeInvalid: "Invalid value.", codeFailed: "Operation failed.", codeNoAuth: "Authentication method is unknown.",
		codeWeak: "Your password is not complex enough. Its strength must comply with the server policy.", codeKey: "Secret key validation failed.",
	},
	"de": {
		codeWrongLogin: "Benutzername oder Passwort ist falsch.", codeExists: "Das Benutzerkonto existiert bereits.",
		codeNoPermission: "Zugriff verweigert.", codeNotFound: "Das Objekt existiert nicht.", codeInvalid: "Ungültiger Wert.",
		codeWeak: "Ihr Passwort ist nicht komplex genug.", codeFailed: "Der Vorgang ist fehlgeschlagen.",
	},
	"ja": {
		codeWrongLogin: "ユーザ名またはパスワードが間違っています。", codeNotFound: "オブジェクトが存在しません。",
		codeInvalid: "値が無効です。", codeWeak: "パスワードの複雑さが不十分です。", codeFailed: "操作に失敗しました。",
	},
}

func (s *Server) errtext(code int) string {
	if t, ok := errtexts[s.switches.language][code]; ok {
		return t
	}
	return errtexts["en"][code]
}

// xmlNode is an element of an answer.
type xmlNode struct {
	name     string
	text     string
	children []xmlNode
}

func leaf(name, text string) xmlNode              { return xmlNode{name: name, text: text} }
func group(name string, nodes ...xmlNode) xmlNode { return xmlNode{name: name, children: nodes} }

// status builds the schema's resultType: status, errcode, errtext.
func (s *Server) status(name string, code int, quote string, more ...xmlNode) xmlNode {
	if code == codeOK {
		return group(name, append([]xmlNode{leaf("status", "ok")}, more...)...)
	}
	errtext := s.errtext(code)
	if s.switches.echo && quote != "" {
		errtext += " (" + quote + ")"
	}
	return group(name, append([]xmlNode{leaf("status", "error"), leaf("errcode", strconv.Itoa(code)), leaf("errtext", errtext)}, more...)...)
}

// system answers a packet that was refused before any of its operations ran:
// https://docs.plesk.com/en-US/obsidian/api-rpc/about-xml-api/creating-client-software/handling-errors.28729
func (s *Server) system(code int, quote string, pretty bool) lab.Response {
	return s.packet(pretty, s.status("system", code, quote))
}

// packet builds an answer. Assumed: the HTTP status is always 200, as the
// documentation only describes the packet.
func (s *Server) packet(pretty bool, nodes ...xmlNode) lab.Response {
	if s.switches.output != "" {
		nodes = append(nodes, leaf("output", s.switches.output))
	}
	var b bytes.Buffer
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<packet version="` + protocol + `">`)
	indent := -1
	if pretty || s.switches.pretty {
		indent = 1
	}
	for _, n := range nodes {
		n.write(&b, indent)
	}
	if indent > 0 {
		b.WriteString("\n")
	}
	b.WriteString("</packet>\n")
	return lab.Response{Status: http.StatusOK, Type: "text/xml;charset=UTF-8", Body: b.Bytes()}
}

// write writes the element. A negative indent means without white space.
func (n xmlNode) write(b *bytes.Buffer, indent int) {
	newline := func(depth int) {
		if indent >= 0 {
			b.WriteByte('\n')
			b.Write(bytes.Repeat([]byte("  "), depth))
		}
	}
	newline(indent)
	b.WriteString("<" + n.name + ">")
	if n.children == nil {
		_ = xml.EscapeText(b, []byte(n.text)) // writing to a bytes.Buffer never fails
	} else {
		inner := indent
		if indent >= 0 {
			inner++
		}
		for _, c := range n.children {
			c.write(b, inner)
		}
		newline(indent)
	}
	b.WriteString("</" + n.name + ">")
}
