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
		pkg:    surface, test: "TestUnknownFieldsAreRejected",
	},
	{
		name: "print-a-secret", rule: "silence",
		breaks: "An error quotes a secret of the wrong type.",
		file:   "backend/input.go",
		old:    "schema.Type == framework.TypeString && !isText, secret(schema) && !isString:",
		new:    "schema.Type == framework.TypeString && isText && text == \"\":",
		pkg:    surface, test: "TestSecretOfWrongTypeIsNotPrinted",
	},
	{
		name: "write-on-a-standby", rule: "I5",
		breaks: "A request that writes is handled on a performance standby instead of being forwarded.",
		file:   "backend/fields.go",
		old:    "ForwardPerformanceStandby: true",
		new:    "ForwardPerformanceStandby: false",
		pkg:    surface, test: "TestWritesAreForwarded",
	},
	{
		name: "first-password-on-a-standby", rule: "I5",
		breaks: "A read on a standby sets the first password there.",
		file:   "backend/rotation/reads.go",
		old:    "case !e.writable():",
		new:    "case e.types == nil:",
		pkg:    surface, test: "TestStandbyForwards",
	},
	{
		name: "period-of-the-moment", rule: "readers",
		breaks: "rotation_period in creds changes when a due time of the schedule passes, and readers restart programs.",
		file:   "backend/rotation/views.go",
		old:    "r.Options.Period(since.UTC())",
		new:    "r.Options.Period(now)",
		pkg:    surface, test: "TestRotationPeriodDependsOnPasswordOnly",
	},
	{
		name: "fractions-of-seconds", rule: "readers",
		breaks: "last_vault_rotation has fractional seconds.",
		file:   "backend/path_creds.go",
		old:    "report.LastRotation.UTC().Format(time.RFC3339)",
		new:    "report.LastRotation.UTC().Format(time.RFC3339Nano)",
		pkg:    endToEnd, test: "TestCredsTTLTellsReadersWhenToReadAgain",
	},
	{
		name: "wrapped-status", rule: "5xx",
		breaks: "A coded error is wrapped, so Vault answers 500 in place of the code.",
		file:   "backend/fields.go",
		old:    "return nil, logical.CodedError(int(known.Kind), known.Message)",
		new:    "return nil, fmt.Errorf(\"busy: %w\", logical.CodedError(int(known.Kind), known.Message))",
		pkg:    surface, test: "TestErrorsKeepTheirStatusCode",
	},
	{
		name: "password-in-an-answer", rule: "silence",
		breaks: "The response to a rotation contains the password.",
		file:   "backend/fields.go",
		old:    `data["version"] = report.View.Password.Version`,
		new:    `data["version"], data["password"] = report.View.Password.Version, report.View.Password.Value`,
		pkg:    surface, test: "TestResponsesMatchTheirSchemas",
	},
	{
		name: "history-for-everybody", rule: "silence",
		breaks: "A user who may read creds may also read all earlier passwords.",
		file:   "backend/backend.go",
		old:    `[]string{"history/*", "settings"}`,
		new:    `[]string{"settings"}`,
		pkg:    endToEnd, test: "TestHistoryNeedsSudo",
	},
	{
		name: "write-a-connection-without-event", rule: "events",
		breaks: "Writing a connection sends no event.",
		file:   "backend/path_config.go",
		old:    "b.send(ctx, eventConfigWrite, req.Path, name, req.Path)",
		new:    "_ = eventConfigWrite",
		pkg:    surface, test: "TestEventsAreSentOnce",
	},
}
