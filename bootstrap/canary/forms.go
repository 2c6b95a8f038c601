package canary

import (
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// Forms returns what a secret may look like after it went through an encoder, by the encoder's name.
func Forms(secret string) map[string][]string {
	out := map[string][]string{
		"plain": {secret},
		"URL":   {url.QueryEscape(secret), url.PathEscape(secret), percent(secret, "%%%02X", false), percent(secret, "%%%02x", false), percent(secret, "%%%02X", true), percent(secret, "%%%02x", true), inPath(secret), inUserInfo(secret)},
		"XML": {
			xmlText(secret), xmlNames.Replace(secret), xmlNumbers.Replace(secret), xmlHTML.Replace(secret),
			each(secret, "&#%d;"), each(secret, "&#x%x;"), each(secret, "&#x%X;"), each(secret, "&#x%02x;"), each(secret, "&#x%04X;"),
		},
		"hex":   {fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), fmt.Sprintf("% x", secret), fmt.Sprintf("% X", secret)},
		"bytes": {listed(secret, "%d", " "), listed(secret, "%d", ", "), listed(secret, "%d", ","), listed(secret, "0x%x", ", ")},
		"Go":    {inside(strconv.Quote(secret)), inside(strconv.QuoteToASCII(secret)), each(secret, `\x%02x`)},
	}
	jsons := []string{
		jsonText(secret, true), jsonText(secret, false), strings.ReplaceAll(jsonText(secret, true), "/", `\/`),
		strings.ReplaceAll(jsonText(secret, false), "/", `\/`), each(secret, `\u%04x`), each(secret, `\u%04X`),
	}
	for _, text := range jsons { // a text inside a text, as logs of requests have it
		jsons = append(jsons, jsonText(text, false), jsonText(text, true))
	}
	out["JSON"] = jsons
	for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			out["base64"] = append(out["base64"], base64Core(alphabet, secret, before))
		}
	}
	return out
}

// base64Core is the part of a base64 text that depends on the secret alone, where that many bytes stand before it in its
// group of three. Whatever stands before and behind ("user:" before a password, for one), this part is in the text.
func base64Core(alphabet *base64.Encoding, secret string, before int) string {
	text := alphabet.EncodeToString([]byte(strings.Repeat("\x00", before) + secret))
	first := (before*8 + 5) / 6 // the first character with no bit of what stands before
	whole := (before + len(secret)) * 8 / 6
	return text[first:whole]
}

// inPath and inUserInfo are what package url makes of it in the parts of an address, where fewer characters are escaped.
func inPath(secret string) string {
	return strings.TrimPrefix((&url.URL{Path: "/" + secret}).EscapedPath(), "/")
}

func inUserInfo(secret string) string {
	return strings.TrimPrefix(url.UserPassword("", secret).String(), ":")
}

// percent escapes all that is no letter or digit, or everything.
func percent(secret, format string, everything bool) string {
	var b strings.Builder
	for i := range len(secret) {
		c := secret[i]
		plain := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !everything && (plain || strings.IndexByte("-_.~", c) >= 0) {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, format, c)
	}
	return b.String()
}

// each writes every character by its number.
func each(secret, format string) string {
	var b strings.Builder
	for _, r := range secret {
		fmt.Fprintf(&b, format, r)
	}
	return b.String()
}

// listed writes the bytes as a list of numbers, as a %v of them does.
func listed(secret, format, between string) string {
	parts := make([]string, 0, len(secret))
	for i := range len(secret) {
		parts = append(parts, fmt.Sprintf(format, secret[i]))
	}
	return strings.Join(parts, between)
}

var (
	xmlNames   = strings.NewReplacer(`&`, "&amp;", `<`, "&lt;", `>`, "&gt;", `"`, "&quot;", `'`, "&apos;")
	xmlNumbers = strings.NewReplacer(`&`, "&#38;", `<`, "&#60;", `>`, "&#62;", `"`, "&#34;", `'`, "&#39;")
	xmlHTML    = strings.NewReplacer(`&`, "&amp;", `<`, "&lt;", `>`, "&gt;", `"`, "&#34;", `'`, "&#39;")
)

func xmlText(secret string) string {
	var b strings.Builder
	if xml.EscapeText(&b, []byte(secret)) != nil {
		return ""
	}
	return b.String()
}

func jsonText(secret string, html bool) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(html)
	if err := encoder.Encode(secret); err != nil {
		return ""
	}
	return inside(strings.TrimSuffix(b.String(), "\n"))
}

// inside takes the quotes off.
func inside(quoted string) string { return quoted[1 : len(quoted)-1] }
