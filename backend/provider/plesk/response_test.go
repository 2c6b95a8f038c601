package plesk

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseResponseAcceptsPackets(t *testing.T) {
	for name, test := range map[string]struct {
		body   string
		ok     bool
		system bool
		code   string
	}{
		"pretty":             {body: okAlias, ok: true},
		"bare":               {body: `<packet><server><set-admin-alias><result><status>ok</status></result></set-admin-alias></server></packet>`, ok: true},
		"byte order mark":    {body: "\xef\xbb\xbf" + okAlias, ok: true},
		"comment":            {body: `<!-- x -->` + `<packet><server><set-admin-alias><result><status>ok</status><!-- x --></result></set-admin-alias></server></packet>`, ok: true},
		"lower-case utf-8":   {body: strings.Replace(okAlias, "UTF-8", "utf-8", 1), ok: true},
		"newer fields":       {body: aliasResult(`<status>ok</status><id>7</id>`), ok: true},
		"spaces in values":   {body: aliasResult("<status> error </status><errcode>\n1013\n</errcode>"), code: "1013"},
		"CDATA":              {body: aliasResult(`<status><![CDATA[ok]]></status>`), ok: true},
		"error":              {body: aliasResult(`<status>error</status><errcode>1013</errcode><errtext>&lt;ok&gt;</errtext>`), code: "1013"},
		"error without code": {body: aliasResult(`<status>error</status>`)},
		"system":             {body: packet(`<system><status>error</status><errcode>1001</errcode><errtext>x</errtext></system>`), system: true, code: "1001"},
		"system ok":          {body: packet(`<system><status>ok</status></system>`), system: true, ok: true},
		"system and output":  {body: packet(`<system><status>error</status><errcode>1014</errcode></system><output>x</output>`), system: true, code: "1014"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseResponse([]byte(test.body), operationSetAlias)
			require.NoError(t, err)
			require.Equal(t, test.ok, got.ok)
			require.Equal(t, test.system, got.system)
			require.Equal(t, test.code, got.code)
		})
	}
}

// Plesk answers so if the filter of an operation matches nothing.
func TestOperationWithoutResultIsRecognized(t *testing.T) {
	for _, body := range []string{
		packet(`<server><set-admin-alias/></server>`),
		packet(`<server><set-admin-alias></set-admin-alias></server>`),
		packet("<server>\n  <set-admin-alias>\n  </set-admin-alias>\n</server><output>debug text</output>"),
	} {
		_, err := parseResponse([]byte(body), operationSetAlias)
		require.ErrorIs(t, err, errNoResult, body)
	}
	_, err := parseResponse([]byte(packet(`<server><get/></server>`)), operationSetAlias)
	require.ErrorIs(t, err, errNotAPacket, "another operation")
}

func TestParseResponseRejectsEverythingElse(t *testing.T) {
	const declaration = `<?xml version="1.0" encoding="UTF-8"?>`
	const beforeClose = declaration + `<packet><server><set-admin-alias><result>`
	const result = `<result><status>ok</status></result>`
	bomb := `<?xml version="1.0"?><!DOCTYPE packet [<!ENTITY a "` + strings.Repeat("x", 100) + `"><!ENTITY b "&a;&a;&a;&a;">]>`
	server := func(inner string) string { return packet(`<server>` + inner + `</server>`) }
	alias := func(inner string) string { return server(`<set-admin-alias>` + inner + `</set-admin-alias>`) }
	for name, body := range map[string]string{
		"nothing":                   "",
		"white space":               " \n",
		"text":                      "ok",
		"HTML":                      "<html><body><status>ok</status></body></html>",
		"JSON":                      `{"status":"ok"}`,
		"truncated":                 okAlias[:len(okAlias)-20],
		"truncated in the status":   beforeClose + "<status>ok",
		"document type":             `<!DOCTYPE packet>` + strings.TrimPrefix(okAlias, declaration),
		"entity bomb":               bomb + `<packet><server><set-admin-alias><result><status>&b;</status></result></set-admin-alias></server></packet>`,
		"external entity":           `<!DOCTYPE p [<!ENTITY x SYSTEM "file:///etc/passwd">]><packet>&x;</packet>`,
		"unknown entity":            alias(`<result><status>&ok;</status></result>`),
		"processing instruction":    packet(`<?php ok ?><server><set-admin-alias>` + result + `</set-admin-alias></server>`),
		"late declaration":          "\n" + okAlias,
		"other encoding":            strings.Replace(okAlias, "UTF-8", "ISO-8859-1", 1),
		"UTF-16":                    "\xff\xfe<\x00p\x00",
		"invalid UTF-8":             aliasResult("<status>ok</status><errtext>\xff</errtext>"),
		"garbage before":            "Warning: PHP " + okAlias,
		"garbage after":             okAlias + "x",
		"two packets":               okAlias + `<packet/>`,
		"empty packet":              packet(``),
		"text in the packet":        packet(`x<server><set-admin-alias>` + result + `</set-admin-alias></server>`),
		"text in the server":        server(`x<set-admin-alias>` + result + `</set-admin-alias>`),
		"text in the operation":     alias(`x` + result),
		"text in the result":        alias(`<result>x<status>ok</status></result>`),
		"other root":                strings.ReplaceAll(okAlias, "packet", "Packet"),
		"name space":                strings.Replace(okAlias, "<packet ", `<packet xmlns="urn:x" `, 1),
		"prefix":                    `<p:packet xmlns:p="urn:x"/>`,
		"system and server":         packet(`<system><status>error</status><errcode>1001</errcode></system><server><set-admin-alias>` + result + `</set-admin-alias></server>`),
		"server and system":         packet(`<server><set-admin-alias>` + result + `</set-admin-alias></server><system><status>error</status></system>`),
		"two servers":               packet(`<server><set-admin-alias>` + result + `</set-admin-alias></server><server><set-admin-alias>` + result + `</set-admin-alias></server>`),
		"two operations":            server(`<set-admin-alias>` + result + `</set-admin-alias><set-admin-alias>` + result + `</set-admin-alias>`),
		"other operation":           server(`<get>` + result + `</get>`),
		"no operation":              server(``),
		"two results":               alias(result + result),
		"ok and error":              alias(result + `<result><status>error</status><errcode>1013</errcode></result>`),
		"status without result":     alias(`<status>ok</status>`),
		"result too high":           server(result),
		"result too deep":           alias(`<x>` + result + `</x>`),
		"system too deep":           packet(`<server><system><status>error</status><errcode>1001</errcode></system></server>`),
		"no status":                 alias(`<result/>`),
		"two statuses":              alias(`<result><status>ok</status><status>error</status></result>`),
		"status of elements":        alias(`<result><status><x>ok</x></status></result>`),
		"status in another element": alias(`<result><x><status>ok</status></x></result>`),
		"unknown status":            alias(`<result><status>done</status></result>`),
		"upper-case ok":             alias(`<result><status>OK</status></result>`),
		"ok with a code":            alias(`<result><status>ok</status><errcode>1013</errcode></result>`),
		"two codes":                 alias(`<result><status>error</status><errcode>1013</errcode><errcode>1019</errcode></result>`),
		"code of words":             alias(`<result><status>error</status><errcode>secret</errcode></result>`),
		"endless code":              alias(`<result><status>error</status><errcode>` + strings.Repeat("1", 11) + `</errcode></result>`),
		"too deep":                  packet(strings.Repeat("<a>", maxDepth+1) + strings.Repeat("</a>", maxDepth+1)),
		"too many elements":         packet(strings.Repeat("<a/>", maxElements+1)),
		"wrong nesting":             `<packet><server></packet></server>`,
		"output first":              packet(`<output/><server><set-admin-alias>` + result + `</set-admin-alias></server>`),
		"three children":            packet(`<server><set-admin-alias>` + result + `</set-admin-alias></server><output/><output/>`),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseResponse([]byte(body), operationSetAlias)
			require.ErrorIs(t, err, errNotAPacket)
		})
	}
}
