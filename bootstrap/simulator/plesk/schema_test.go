package plesk

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

const head = `<?xml version="1.0" encoding="UTF-8"?>`

func set(inner string) string {
	return head + `<packet><server><set-admin-alias>` + inner + `</set-admin-alias></server></packet>`
}

const (
	filter = `<filter><login>ops1</login></filter>`
	data   = `<data><password>x</password></data>`
)

// packets lists valid and invalid packets.
var packets = []struct {
	name, packet string
	valid        bool
}{
	{"the documented sample", set(filter + data), true},
	{"without declaration", `<packet><server><get_protos/></server></packet>`, true},
	{"white space between elements", head + "\n<packet>\n <server>\n  <get_protos/>\n </server>\n</packet>\n", true},
	{"comment", head + `<packet><!-- c --><server><get_protos/></server></packet>`, true},
	{"two logins", set(`<filter><login>a</login><login>b</login></filter>` + data), true},
	{"empty data", set(filter + `<data/>`), true},
	{"data in any order", set(filter + `<data><status>1</status><comment>c</comment><password>p</password><email>a@b.c</email></data>`), true},
	{"CDATA", set(filter + `<data><password><![CDATA[a<b]]></password></data>`), true},
	{"entity", set(filter + `<data><password>a&lt;b&#33;</password></data>`), true},
	{"version", strings.Replace(set(filter+data), "<packet>", `<packet version="1.6.9.1">`, 1), true},
	{"two operations", head + `<packet><server><get_protos/><get><gen_info/></get></server></packet>`, true},
	{"key creation in order", head + `<packet><secret_key><create><ip_address>127.0.0.1</ip_address><description>d</description></create></secret_key></packet>`, true},
	{"key deletion of all", head + `<packet><secret_key><delete><filter/></delete></secret_key></packet>`, true},

	{"data before filter", set(data + filter), false},
	{"no data", set(filter), false},
	{"no filter", set(data), false},
	{"empty filter", set(`<filter/>` + data), false},
	{"two filters", set(filter + filter + data), false},
	{"two data", set(filter + data + data), false},
	{"repeated password", set(filter + `<data><password>a</password><password>b</password></data>`), false},
	{"unknown element of data", set(filter + `<data><passwd>a</passwd></data>`), false},
	{"bad email", set(filter + `<data><email>nobody</email></data>`), false},
	{"bad status", set(filter + `<data><status>yes</status></data>`), false},
	{"element in password", set(filter + `<data><password><b/></password></data>`), false},
	{"attribute of login", set(`<filter><login id="1">a</login></filter>` + data), false},
	{"unknown attribute of packet", strings.Replace(set(filter+data), "<packet>", `<packet v="1">`, 1), false},
	{"attribute twice", strings.Replace(set(filter+data), "<packet>", `<packet version="1.6.9.1" version="1.6.9.1">`, 1), false},
	{"namespace", strings.Replace(set(filter+data), "<packet>", `<packet xmlns="urn:x">`, 1), false},
	{"prefix", head + `<p:packet xmlns:p="u"><server><get_protos/></server></p:packet>`, false},
	{"text between elements", set(filter + "text" + data), false},
	{"text in an empty element", head + `<packet><server><get_protos>x</get_protos></server></packet>`, false},
	{"unknown operation", head + `<packet><server><update-admin-alias/></server></packet>`, false},
	{"unknown operator", head + `<packet><unknown><get/></unknown></packet>`, false},
	{"empty packet", head + `<packet/>`, false},
	{"empty server", head + `<packet><server/></packet>`, false},
	{"another root", head + `<paket><server><get_protos/></server></paket>`, false},
	{"description before address", head + `<packet><secret_key><create><description>d</description><ip_address>127.0.0.1</ip_address></create></secret_key></packet>`, false},
	{"key deletion without filter", head + `<packet><secret_key><delete/></secret_key></packet>`, false},

	{"nothing", "", false},
	{"not closed", head + `<packet><server>`, false},
	{"closed in the wrong order", head + `<packet><server></packet></server>`, false},
	{"two roots", head + `<packet><server><get_protos/></server></packet><packet/>`, false},
	{"text after the root", head + `<packet><server><get_protos/></server></packet>x`, false},
	{"document type", head + `<!DOCTYPE packet><packet><server><get_protos/></server></packet>`, false},
	{"entity bomb", head + `<!DOCTYPE p [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>` + `<packet><server><get_protos/></server></packet>`, false},
	{"unknown entity", set(filter + `<data><password>&b;</password></data>`), false},
	{"other encoding", `<?xml version="1.0" encoding="ISO-8859-1"?><packet><server><get_protos/></server></packet>`, false},
	{"not UTF-8", set(filter + "<data><password>\xff</password></data>"), false},
	{"control character", set(filter + "<data><password>a\x01b</password></data>"), false},
	{"blank before the declaration", " " + set(filter+data), false},
	{"processing instruction", head + `<?php x?><packet><server><get_protos/></server></packet>`, false},
	{"very deep", head + strings.Repeat("<packet>", 100) + strings.Repeat("</packet>", 100), false},
}

func TestOnlyValidPacketsAreParsed(t *testing.T) {
	for _, c := range packets {
		root, err := parse([]byte(c.packet))
		if err == nil {
			err = validate(root)
		}
		if c.valid {
			assert.NoError(t, err, c.name)
		} else {
			assert.ErrorIs(t, err, errParse, c.name)
		}
	}
}

func TestPasswordRulesMatchDocumentation(t *testing.T) {
	for _, c := range []struct {
		login, password, policy string
		want                    int
	}{
		{"ops1", "Abcdefgh12345!#xyz", "very-strong", codeOK},
		{"ops1", "Abcdefgh12345_klmn_opQRSTuv2", "very-strong", codeOK},
		{"ops1", "Abcdefgh12345!#xyz", "strong", codeOK},
		{"ops1", "abcdefghij", "strong", codeWeak},
		{"ops1", "abcdefghij", "very-weak", codeOK},
		{"ops1", "Abcdef12", "strong", codeWeak},
		{"ops1", "Abcdef12", "medium", codeOK},
		{"ops1", "Ab1!", "very-weak", codeInvalid},
		{"ops1", "", "very-weak", codeInvalid},
		{"ops1", strings.Repeat("a", 256), "very-weak", codeInvalid},
		{"ops1", strings.Repeat("a", 255), "very-weak", codeOK},
		{"ops1", "Abcdefgh 12345!#", "very-weak", codeInvalid},
		{"ops1", "Abcdefgh'12345!#", "very-weak", codeInvalid},
		{"ops1", `Abcdefgh"12345!#`, "very-weak", codeInvalid},
		{"ops1", "Abcdefghä12345!#", "very-weak", codeInvalid},
		{"ops1", "Abcdefgh\x7f12345!#", "very-weak", codeInvalid},
		{"ops1", "Xops1Abc12345!#x", "very-weak", codeInvalid},
		{"qwerty", "1@qwerty2$", "very-weak", codeInvalid},
		{"qwerty", "1@QWERTY2$", "very-weak", codeInvalid},
	} {
		assert.Equal(t, c.want, checkPassword(c.login, c.password, c.policy), "%s with %q", c.policy, c.password)
	}
	assert.Equal(t, 50, score("Abcdefghijk123!#"), "the documented example of a very strong password")
}
