package main

const surface = "backend"

// ofTheSurface break what Vault and its users see.
var ofTheSurface = []mutant{
	{
		name: "take-unknown-fields", rule: "input",
		breaks: "A misspelt field is ignored.",
		file:   "backend/backend.go",
		old:    "unknown = append(unknown,",
		new:    "_ = append(unknown,",
		pkg:    surface, test: "TestUnknownFieldsAreRefusedByName",
	},
	{
		name: "print-a-secret", rule: "silence",
		breaks: "A secret of a wrong type is quoted in the error.",
		file:   "backend/backend.go",
		old:    "case secret(schema) && !isText:",
		new:    "case secret(schema) && isText && text == \"\":",
		pkg:    surface, test: "TestASecretOfAWrongTypeIsNotPrinted",
	},
	{
		name: "write-on-a-standby", rule: "I5",
		breaks: "A request that changes something is carried out where Vault must not write.",
		file:   "backend/fields.go",
		old:    "ForwardPerformanceStandby: true",
		new:    "ForwardPerformanceStandby: false",
		pkg:    surface, test: "TestEveryWritingOperationIsForwarded",
	},
	{
		name: "first-password-on-a-standby", rule: "I5",
		breaks: "A read on a standby sets a first password there.",
		file:   "backend/rotation/reads.go",
		old:    "case !e.writable():",
		new:    "case e.types == nil:",
		pkg:    surface, test: "TestAStandbyForwardsWhatItMustNotDoItself",
	},
	{
		name: "period-of-the-moment", rule: "readers",
		breaks: "What readers are told of a schedule changes when a due time passes, and they restart programs.",
		file:   "backend/path_creds.go",
		old:    `role.Options.Period(since)`,
		new:    `role.Options.Period(time.Now())`,
		pkg:    surface, test: "TestTheRotationPeriodOfAnUnevenScheduleIsThePasswords",
	},
	{
		name: "fractions-of-seconds", rule: "readers",
		breaks: "The time of the last rotation has a fraction.",
		file:   "backend/path_creds.go",
		old:    `since.Format(time.RFC3339)`,
		new:    `since.Format(time.RFC3339Nano)`,
		pkg:    endToEnd, test: "TestEveryRoleTellsReadersWhenToReadAgain",
	},
	{
		name: "wrapped-status", rule: "5xx",
		breaks: "A coded error has a text around it, so that Vault answers 500 for all of them.",
		file:   "backend/fields.go",
		old:    "return nil, logical.CodedError(http.StatusServiceUnavailable, known.Message)",
		new:    "return nil, fmt.Errorf(\"busy: %w\", logical.CodedError(http.StatusServiceUnavailable, known.Message))",
		pkg:    surface, test: "TestErrorsCrossToVaultWithTheirCode",
	},
	{
		name: "password-in-an-answer", rule: "silence",
		breaks: "The answer to a rotation holds the password.",
		file:   "backend/fields.go",
		old:    `data["version"] = report.View.Password.Version`,
		new:    `data["version"], data["password"] = report.View.Password.Version, report.View.Password.Value`,
		pkg:    surface, test: "TestAnswersAreAsTheirPathsDescribeThem",
	},
	{
		name: "history-for-everybody", rule: "silence",
		breaks: "Whoever may read creds may read every password that ever was.",
		file:   "backend/backend.go",
		old:    `[]string{"history/*"}`,
		new:    "[]string{}",
		pkg:    endToEnd, test: "TestHistoryNeedsSudo",
	},
}
