// Package jobs runs work off the request: a handler stores a job and answers 202, and a worker calls the app when there is room, until
// it is done.
//
//	queues, err := jobs.New(jobs.Options{Queues: map[string]jobs.Queue{"images": {Concurrency: 8}}})
//	...
//	taken, err := queues.Take(ctx, "images", jobs.Spec{URL: "/images/7/resize", Body: body})
//	...
//	queues.Work(ctx, func(ctx context.Context, job *jobs.Job, attempt int) jobs.Answer { ... }, jobs.WorkOptions{Grace: 20 * time.Second})
//
// # The way of a job
//
//  1. [Queues.Take] stores it (queues.go): an ID, which names the queue and has 128 random bits, the request without what proves who sent it,
//     and who asked. It waits in the order in which jobs are due.
//  2. [Queues.Work] claims it (work.go), while fewer than the queue's concurrency run over all workers, with a lease that it renews.
//  3. A [Runner], the caller's function, makes an attempt (attempt.go), and decide says what becomes of the job by its [Answer]
//     (answer.go): done, failed, or once more after a pause.
//  4. That is stored, with follow-ups that the answer names, in one step. [Queues.Get], [Queues.Wait] and [Queues.Result] tell who asked
//     (ask.go), [Queues.List] and its like the operators (operate.go).
//  5. When the queue's keep is over, the job is forgotten.
//
// [Schedule] says which jobs come by themselves (planning.go).
//
// # What is promised
//
//   - A job runs at least once, and more than once only where a worker or Redis was lost, or cut off, during an attempt: the app server
//     may then have done it without the worker being told, or being able to tell. Each of its requests has the same Idempotency-Key. It has one result.
//   - At most the queue's concurrency of leases are live, over all workers.
//   - A worker that was killed holds its jobs for at most 10 seconds; another one looks within 2 seconds more. That costs no attempt.
//   - An attempt is an answer, or a request that was sent and got none. A server that can't be reached costs none; the pause grows all the same.
//   - 2xx is done. 408, 425, 429, 5xx and no answer mean once more, after the backoff or after Retry-After where that is longer. Everything
//     else is final at once, redirects among it: nothing follows them.
//   - Take returns without an error when the job is stored, and stores it once, also where a reply of Redis was lost.
//   - The jobs of a queue that wait or run take no more memory than its max_bytes, and those that are over as much again, of which the oldest make
//     room. No job that waits is dropped, new ones are refused; follow-ups and the jobs
//     of schedules are stored all the same.
//   - What is over expires in Redis; what waits or runs does not. A full Redis takes no new jobs, and ends the others, at the cost of
//     the bodies of their answers. One that evicts can lose jobs.
//
// # What it costs
//
// Measured with bench_test.go, on two cores that callers, workers and Redis share with other programs: 64 callers have 15,000 to 21,000 jobs a second
// taken, and 4,000 to 8,000 a second run from end to end. A user's job takes some 650 bytes of Redis besides its head and its body. With a million
// jobs that wait, taking, claiming, a page of a list from the middle, and the numbers take as long as with a thousand.
//
// # Why not asynq
//
// github.com/hibiken/asynq v0.26 was tried. After kill -9 a job came back after 65 seconds, and a retry was spent; a lost reply to Enqueue
// reported a conflict though the job was stored, and the key of its uniqueness never went; it has no prefix for its keys, no memory tier, and
// no clock that a test can set. It holds its own connection to Redis, without the time-outs, the breaker and the promise of
// [github.com/headgate/headgate/middleware/store] that a script runs once.
package jobs
