package apply_test

import (
	"errors"
	"testing"
	"time"

	"svckit/lib/apply"
	"svckit/lib/fault"
	"svckit/lib/fleet"
)

func TestWithoutItsCodeNothingOfAServiceIsTouched(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fakeNode) {
		onVolume := job("good", 1, func(j *apply.Job) { j.Wanted.Service.Code.Mount = "/srv/app" })
		f.code = fleet.Code{}
		steps, err := up(t.Context(), f, onVolume, nil)
		var e *fault.Error
		if fault.KindOf(err) != fault.Refused || !errors.As(err, &e) || e.Hint != "svc-reload app/web --source DIR brings it here" {
			t.Errorf("%v, hint of %+v", err, e)
		}
		if len(steps)+len(f.mutations) > 0 {
			t.Errorf("walked %q, did %q", steps, f.mutations)
		}
		if _, err := up(t.Context(), f, job("good", 1, nil), nil); err != nil {
			t.Errorf("a service with its code in the image: %v", err)
		}
		f.codeErr = fault.New(fault.Invalid, "current points to /etc")
		if _, err := up(t.Context(), f, onVolume, nil); fault.KindOf(err) != fault.Invalid {
			t.Errorf("code that is broken: %v", err)
		}
		f.codeErr, f.code = nil, fleet.Code{Generation: "v1", Changed: time.Now()}
		if _, err := up(t.Context(), f, onVolume, nil); err != nil {
			t.Errorf("with code: %v", err)
		}
	})
}
