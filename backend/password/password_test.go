package password

import (
	"crypto/rand"
	"errors"
	"io"
	"math"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

const specials = "-_=+.~"

// sample returns rules like those of real systems.
func sample() Rules {
	return Rules{
		MinLength:  8,
		MaxLength:  32,
		Allowed:    Lower + Upper + Digits + specials,
		MinClasses: 3,
		Forbidden:  []string{"app", "ppa"},
		Recipe: Recipe{
			Length: 24,
			Classes: []Class{
				{Characters: Lower, Min: 1},
				{Characters: Upper, Min: 1},
				{Characters: Digits, Min: 3},
				{Characters: specials, Min: 2},
			},
			PlainEnds: true,
		},
	}
}

func TestCheckNamesBrokenRule(t *testing.T) {
	for password, rule := range map[string]string{
		"Abcdefg1":                      "",
		"abcdef1-":                      "",
		"ABCDEF1-":                      "",
		"Abcdefg-":                      "",
		strings.Repeat("Aa1-", 8):       "",
		"Abcdef1":                       "too short",
		"":                              "too short",
		strings.Repeat("Aa1-", 8) + "x": "too long",
		"abcdefg1":                      "too few kinds",
		"ABCDEFG1":                      "too few kinds",
		"abcdefgh":                      "too few kinds",
		"1234567-":                      "too few kinds",
		"Abc defg1":                     "does not accept",
		"Abcdefg1!":                     "does not accept",
		"Äbcdefg1":                      "does not accept",
		"Abcdefg1\x00":                  "contains a control character",
		"Abcd\tefg1":                    "contains a control character",
		"Abcd\nefg1\n":                  "contains a control character",
		"Abcdefg1\n":                    "ends with a line break",
		"Abcdefg1\r\n":                  "ends with a line break",
		"Abcdefg1\xff":                  "does not accept",
		"My-app-1":                      "forbids",
		"My-APP-1":                      "forbids",
		"My-Ppa-1":                      "forbids",
	} {
		err := sample().Check(password)
		if rule == "" {
			require.NoError(t, err, password)
			continue
		}
		var broken *RuleError
		require.ErrorAs(t, err, &broken, password)
		require.ErrorContains(t, err, rule)
		require.True(t, strings.HasPrefix(err.Error(), "the password "))
	}
}

// A password in force may be older than the rules, but a remote system cannot have one with a character that it never accepts.
func TestPresentPasswordMayBreakYoungerRules(t *testing.T) {
	unknown, known := sample(), sample()
	known.Present = known.Allowed + "!"
	for name, test := range map[string]struct{ password, unknown, known string }{
		"weak":               {"a", "", ""},
		"with a name":        {"My-app-1", "", ""},
		"another character":  {"Abcdefg1!", "", ""},
		"a strange one":      {"Abc defg1", "", "does not accept; it accepts a-z A-Z 0-9 -_=+.~!"},
		"long":               {strings.Repeat("Aa1-", 9), "", "too long: at most 32"},
		"very long":          {strings.Repeat("Aa1-", 257), "too long: at most 1024", "too long: at most 32"},
		"from a file":        {"Abcdefg1\n", "ends with a line break", "ends with a line break"},
		"control characters": {"Abc\x00defg1", "control character", "control character"},
	} {
		for rules, want := range map[*Rules]string{&unknown: test.unknown, &known: test.known} {
			err := rules.CheckPresent(test.password)
			if want == "" {
				require.NoError(t, err, name)
			} else {
				require.ErrorContains(t, err, want, name)
			}
		}
	}
}

func TestZeroRulesAcceptNothing(t *testing.T) {
	require.Error(t, Rules{}.Check("a"))
	_, err := Rules{}.Generate(rand.Reader)
	require.Error(t, err)
}

func TestLengthsCountCharacters(t *testing.T) {
	rules := Rules{MinLength: 3, MaxLength: 3, Allowed: "äöü"}
	require.NoError(t, rules.Check("äöü"))
	require.Error(t, rules.Check("äö"))
	require.Error(t, rules.Check("äöüä"))
}

func TestEmptyForbiddenWordForbidsNothing(t *testing.T) {
	rules := sample()
	rules.Forbidden = []string{""}
	require.NoError(t, rules.Check("Abcdefg1"))
}

func TestErrorsContainNoPartOfPassword(t *testing.T) {
	// No error text contains any of these characters by itself.
	const part = "Zq7"
	for _, password := range []string{part, part + "é", strings.Repeat(part, 20), "zqzqzqzqzq", part + "app-xx"} {
		err := sample().Check(password)
		require.Error(t, err)
		require.NotContains(t, err.Error(), part)
		require.NotContains(t, err.Error(), "zq")
		require.NotContains(t, err.Error(), "é")
	}
}

func TestGeneratedPasswordsMeetRules(t *testing.T) {
	rules := sample()
	seen := map[string]bool{}
	for range 10_000 {
		made, err := rules.Generate(rand.Reader)
		require.NoError(t, err)
		require.Len(t, made, 24)
		require.NoError(t, rules.Check(made))
		require.True(t, strings.ContainsRune(Lower+Upper, rune(made[0])), "the first character is not a letter")
		require.True(t, strings.ContainsRune(Lower+Upper+Digits, rune(made[23])), "the last character is special")
		require.GreaterOrEqual(t, count(made, Lower), 1)
		require.GreaterOrEqual(t, count(made, Upper), 1)
		require.GreaterOrEqual(t, count(made, Digits), 3)
		require.GreaterOrEqual(t, count(made, specials), 2)
		require.False(t, seen[made], "the same password was generated twice")
		seen[made] = true
	}
}

func count(text, set string) int {
	n := 0
	for _, c := range text {
		if strings.ContainsRune(set, c) {
			n++
		}
	}
	return n
}

// Each character of a set must occur equally often, and no class may prefer a position.
func TestGeneratedCharactersAreEvenlyDistributed(t *testing.T) {
	rules := Rules{
		MinLength: 16, MaxLength: 16, Allowed: Lower + Digits,
		Recipe: Recipe{Length: 16, Classes: []Class{{Lower, 1}, {Digits, 4}}},
	}
	const rounds = 10_000
	letters, positions := map[rune]int{}, make([]int, 16)
	random := seeded()
	total, digits := 0, 0
	for range rounds {
		made, err := rules.Generate(random)
		require.NoError(t, err)
		for i, c := range made {
			if strings.ContainsRune(Digits, c) {
				positions[i]++
				digits++
				continue
			}
			letters[c]++
			total++
		}
	}
	require.Len(t, letters, 26)
	requireEven(t, letters, float64(total)/26)
	byPosition := map[rune]int{}
	for i, n := range positions {
		byPosition[rune(i)] = n
	}
	requireEven(t, byPosition, float64(digits)/16)
}

// requireEven requires every count to be within five standard deviations of the mean.
func requireEven(t *testing.T, counts map[rune]int, mean float64) {
	t.Helper()
	for key, n := range counts {
		require.InDelta(t, mean, float64(n), 5*math.Sqrt(mean), "%q", key)
	}
}

// seeded returns randomness that is the same in each run.
func seeded() io.Reader { return mathrand.NewChaCha8([32]byte{1}) }

func TestFirstLetterIsEvenlyDistributed(t *testing.T) {
	recipe := Recipe{Length: 8, Classes: []Class{{Lower, 1}, {Digits, 6}}, PlainEnds: true}
	rules := Rules{MinLength: 8, MaxLength: 8, Allowed: Lower + Digits, Recipe: recipe}
	first := map[rune]int{}
	random := seeded()
	const rounds = 5_000
	for range rounds {
		made, err := rules.Generate(random)
		require.NoError(t, err)
		first[rune(made[0])]++
	}
	require.Len(t, first, 26)
	requireEven(t, first, rounds/26.)
}

func TestGenerateFailsWithoutRandomness(t *testing.T) {
	broken := errors.New("no entropy")
	for n := range 64 {
		random := io.MultiReader(io.LimitReader(rand.Reader, int64(n/8)), failing{broken})
		made, err := sample().Generate(random)
		require.ErrorIs(t, err, broken)
		require.Empty(t, made)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestGenerateFailsOnImpossibleRules(t *testing.T) {
	for name, change := range map[string]func(*Rules){
		"every letter is forbidden":   func(r *Rules) { r.Forbidden = strings.Split(Lower, "") },
		"longer than allowed":         func(r *Rules) { r.MaxLength = 10 },
		"shorter than required":       func(r *Rules) { r.MinLength, r.MaxLength = 30, 40 },
		"characters not allowed":      func(r *Rules) { r.Allowed = Digits },
		"more required than length":   func(r *Rules) { r.Recipe.Length = 6 },
		"no classes":                  func(r *Rules) { r.Recipe.Classes = nil },
		"no length":                   func(r *Rules) { r.Recipe.Length = 0 },
		"negative length":             func(r *Rules) { r.Recipe.Length = -1 },
		"no letter for the first":     func(r *Rules) { r.Recipe.Classes = []Class{{Digits, 1}} },
		"fewer classes than required": func(r *Rules) { r.Recipe.Classes = []Class{{Lower, 1}} },
	} {
		t.Run(name, func(t *testing.T) {
			rules := sample()
			change(&rules)
			made, err := rules.Generate(rand.Reader)
			require.Error(t, err)
			require.Empty(t, made)
		})
	}
}

func TestGenerateIsSafeForConcurrentUse(t *testing.T) {
	rules := sample()
	var done sync.WaitGroup
	for range 8 {
		done.Go(func() {
			for range 50 {
				if _, err := rules.Generate(rand.Reader); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done.Wait()
}

func TestReverseKeepsCharacters(t *testing.T) {
	for text, want := range map[string]string{"": "", "a": "a", "app": "ppa", "äö-1": "1-öä"} {
		require.Equal(t, want, Reverse(text))
	}
}

func TestDescribeShortensRanges(t *testing.T) {
	require.Equal(t, "a-z A-Z 0-9 -_=+.~", Describe(sample().Allowed))
	require.Equal(t, "abc", Describe("abc"))
	require.Empty(t, Describe(""))
}
