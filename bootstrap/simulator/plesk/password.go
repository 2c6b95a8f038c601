package plesk

import (
	"strings"
	"unicode"
)

// Codes of https://docs.plesk.com/en-US/obsidian/api-rpc/about-xml-api/error-codes/reduced-list-of-error-codes.33765
// and, for 1038, of https://www.plesk.com/kb/support/upcoming-changes-in-the-plesk-password-strength-policy.
const (
	codeOK           = 0
	codeWrongLogin   = 1001
	codeExists       = 1002
	codeSetup        = 1004
	codeVersion      = 1005
	codeNoPermission = 1006
	codeBusy         = 1008
	codeNoAccess     = 1010
	codeDisabled     = 1011
	codeLocked       = 1012
	codeNotFound     = 1013
	codeParse        = 1014
	codeInvalid      = 1019
	codeFailed       = 1023
	codeNoAuth       = 1029
	codeWeak         = 1038
	codeKey          = 11003
)

// policies maps the levels of the password strength policy to the minimum score of
// the estimator of Plesk 11.5 to 18.0.44:
// https://support.plesk.com/hc/en-us/articles/213912245-Password-strength-policy-in-Plesk-How-it-works-
// Newer versions use zxcvbn. Passwords that the old estimator rates very strong are
// random enough for that too.
var policies = map[string]int{"very-weak": 0, "weak": 15, "medium": 25, "strong": 35, "very-strong": 45}

// checkPassword checks a password for a login. It returns codeOK, codeInvalid or
// codeWeak.
//
// Characters and lengths: https://plesk.com/kb/support/what-limits-are-set-in-plesk-for-username-password
// Assumed: the check for the login ignores case.
func checkPassword(login, password, policy string) int {
	if len(password) < 5 || len(password) > 255 {
		return codeInvalid
	}
	for _, r := range password {
		if r <= ' ' || r > 126 || r == '\'' || r == '"' {
			return codeInvalid
		}
	}
	if strings.Contains(strings.ToLower(password), strings.ToLower(login)) {
		return codeInvalid
	}
	if score(password) < policies[policy] {
		return codeWeak
	}
	return codeOK
}

// score returns the score of the old estimator.
func score(password string) int {
	var lower, upper, digits, specials int
	for _, r := range password {
		switch {
		case unicode.IsLower(r):
			lower++
		case unicode.IsUpper(r):
			upper++
		case unicode.IsDigit(r):
			digits++
		case strings.ContainsRune("!@#$%^&*?_~", r):
			specials++
		}
	}
	letters := lower+upper > 0
	points := lengthPoints(len(password))
	for _, rule := range []struct {
		met    bool
		points int
	}{
		{lower > 0, 1}, {upper > 0, 5}, {digits > 0, 5}, {digits >= 3, 5}, {specials > 0, 5}, {specials >= 2, 5},
		{lower > 0 && upper > 0, 2}, {letters && digits > 0, 2}, {letters && digits > 0 && specials > 0, 2},
	} {
		if rule.met {
			points += rule.points
		}
	}
	return points
}

func lengthPoints(n int) int {
	switch {
	case n <= 4:
		return 3
	case n <= 7:
		return 6
	case n <= 15:
		return 12
	}
	return 18
}
