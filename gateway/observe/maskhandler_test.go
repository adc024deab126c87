package observe_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/headgate/headgate/gateway/observe"
)

func TestTheGatewaysOwnLogHidesQueryParametersToo(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	mask := observe.NewQueryMask([]string{"token"})
	log := observe.MaskLog(slog.New(slog.NewTextHandler(&out, nil)), func() *observe.QueryMask { return mask })
	const url = "https://h/x?a=1&token=hush"
	log = log.With("with", url).WithGroup("g")
	log.Error("message of "+url, "text", url, "error", errors.New(url), slog.Group("group", "inner", url), "number", 7)
	if text := out.String(); strings.Contains(text, "hush") || strings.Count(text, "token=***") != 5 || !strings.Contains(text, "g.number=7") {
		t.Error(text)
	}
}
