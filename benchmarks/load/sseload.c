/* sseload: a load generator for event streams. One thread, one epoll, one clock for both ends.
 *
 *     sseload PORT [--host ADDRESS] [--path PATH] [--publishers N] [--progress]
 *
 * sseload opens N readers (GET, as an EventSource does) and publishes to the same server (POST on connections that are
 * kept alive), so the cost of a publish is part of what is measured. The data of an event is
 *
 *     @<CLOCK_MONOTONIC, ns, 16 hex digits><number, 8 hex digits>xxxx…
 *
 * Every event that every reader gets is checked: all readers of a topic must see the same events in the same order,
 * none twice, none left out. The first reader to reach a place of a topic's log decides which event stands there.
 *
 * Commands come on stdin, one a line; each is answered by a line of JSON on stdout. The end of stdin ends the process.
 *
 *     open N [TOPICS [PENDING]]    N readers, at most PENDING of them connecting (all at once); reader i follows topic
 *                                  i modulo TOPICS
 *     window W SECONDS SIZE        publish, with at most W events under way: the next goes out when one of them has
 *                                  reached all its readers. What is counted is what arrives within SECONDS.
 *     rate PER_SECOND SECONDS SIZE publish by the clock; a delay counts from the time when it was due
 *     stall K                      K readers stop reading; their deliveries are not timed until the next phase
 *     resume SECONDS               they go on; wait until every reader has everything
 *     wait SECONDS                 read on, and count comments
 *     take SECONDS                 read on, and count events, whatever their data
 *     replay BACK                  close all readers and open as many with the id that stood BACK events ago
 *     close                        close all readers
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    BATCH = 512,            /* epoll events taken at once */
    READ = 256 * 1024,      /* bytes asked of one recv */
    CARRY = 4 * 1024 * 1024,/* bytes that an unfinished line or head may have */
    ID = 64,                /* bytes of a last event ID that are kept */
    MARKED = 25,            /* bytes of data that are not filling: '@', the time, the number */
    MOST_PUBLISHERS = 64,
};

#define SECOND 1000000000ull

static void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void die(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    fprintf(stderr, "sseload: ");
    vfprintf(stderr, format, values);
    fprintf(stderr, "\n");
    va_end(values);
    exit(1);
}

static void *grown(void *block, size_t size)
{
    block = realloc(block, size);
    if (!block)
        die("out of memory");
    return block;
}

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static double seconds(uint64_t ns)
{
    return (double)ns / (double)SECOND;
}

/* --- latencies: a histogram of microseconds, 32 steps to the octave, so within 3 % -------------------------------- */

enum { STEPS = 32, BUCKETS = 40 * STEPS };

struct histogram {
    uint64_t count[BUCKETS];
    uint64_t total;
    uint64_t longest; /* ns */
};

static void note(struct histogram *h, uint64_t ns)
{
    uint64_t us = ns / 1000;
    unsigned bucket;
    if (us < STEPS) {
        bucket = (unsigned)us;
    } else {
        unsigned octave = 63u - (unsigned)__builtin_clzll(us); /* >= 5 */
        bucket = (octave - 4) * STEPS + (unsigned)((us >> (octave - 5)) - STEPS);
    }
    if (bucket >= BUCKETS)
        bucket = BUCKETS - 1;
    h->count[bucket]++;
    h->total++;
    if (ns > h->longest)
        h->longest = ns;
}

static double bucket_ms(unsigned bucket)
{
    unsigned octave = bucket / STEPS;
    if (octave == 0)
        return bucket / 1000.0;
    return (double)((uint64_t)(bucket % STEPS + STEPS) << (octave - 1)) / 1000.0;
}

/* The latency that a share of all deliveries does not exceed, ms. */
static double quantile(const struct histogram *h, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)h->total + 0.5);
    uint64_t seen = 0;
    for (unsigned b = 0; b < BUCKETS; b++) {
        seen += h->count[b];
        if (seen >= wanted && seen)
            return bucket_ms(b);
    }
    return 0;
}

/* --- events and topics -------------------------------------------------------------------------------------------- */

struct event {
    int topic;
    int place; /* in the topic's log; -1 until a reader has it */
    int got;   /* readers that have it */
    int want;  /* readers of the topic when it was published */
};

struct topic {
    int *log; /* numbers of events, in the order in which the readers see them */
    int length, room;
    int published; /* events; those beyond `length` no reader has seen yet */
    int readers;   /* open ones */
    char (*ids)[ID];
};

enum kind { COMMANDS, TIMER, READER, PUBLISHER };

struct source {
    enum kind kind;
    int fd; /* -1: closed */
};

struct reader {
    struct source source;
    enum { CONNECTING, HEAD, BODY } state;
    enum { SIZE, EXTENSION, CONTENT, AFTER, OVER, PLAIN } framing; /* of the body */
    bool stalled, late; /* does not read; did not, so its deliveries are not timed */
    bool marked;        /* the event under way has data of ours */
    bool filled;        /* the event under way has data */
    int topic, next;    /* place in the topic's log that comes next */
    int number;         /* of the event under way */
    uint64_t sent;
    size_t chunk; /* bytes of the chunk that are to come; digits so far in SIZE */
    char *carry;  /* an unfinished line, or the head */
    size_t carried, carry_room;
    char id[ID];
};

struct publisher {
    struct source source;
    bool busy;
    uint64_t since;
    char answer[8192];
    size_t answered;
};

static struct {
    struct sockaddr_in server;
    const char *path;
    int port, epoll;
    bool progress;
    struct source commands, timer;

    struct reader *readers;
    int count, open, opened, refused, failed;

    struct publisher publishers[MOST_PUBLISHERS];
    int publisher_count;

    struct event *events;
    int event_count, event_room;
    struct topic *topics;
    int topic_count;

    char *buffer; /* carry, then what one recv brings */
} all;

static struct {
    int first; /* number of the phase's first event */
    uint64_t began, counted_until;
    uint64_t delivered, after, late, reads, bytes; /* in time; when it was over; to those who had stalled */
    uint64_t lost, doubled, foreign, gaps, comments, events, ended, errors, posts;
    int under_way;
    struct histogram delay, post;
    struct rusage before;
    uint64_t told; /* when progress was last shown */
} phase;

static void begin_phase(void)
{
    memset(&phase, 0, sizeof phase);
    phase.first = all.event_count;
    phase.began = phase.told = now();
    phase.counted_until = UINT64_MAX;
    getrusage(RUSAGE_SELF, &phase.before);
}

static double cpu_since(const struct rusage *before)
{
    struct rusage after;
    getrusage(RUSAGE_SELF, &after);
    double user = (double)(after.ru_utime.tv_sec - before->ru_utime.tv_sec)
        + 1e-6 * (double)(after.ru_utime.tv_usec - before->ru_utime.tv_usec);
    double system = (double)(after.ru_stime.tv_sec - before->ru_stime.tv_sec)
        + 1e-6 * (double)(after.ru_stime.tv_usec - before->ru_stime.tv_usec);
    return user + system;
}

static int new_event(int topic)
{
    if (all.event_count == all.event_room) {
        all.event_room = all.event_room ? 2 * all.event_room : 4096;
        all.events = grown(all.events, (size_t)all.event_room * sizeof *all.events);
    }
    all.events[all.event_count] = (struct event){topic, -1, 0, all.topics[topic].readers};
    all.topics[topic].published++;
    return all.event_count++;
}

static void log_event(struct topic *topic, int number, const char *id)
{
    if (topic->length == topic->room) {
        topic->room = topic->room ? 2 * topic->room : 8;
        topic->log = grown(topic->log, (size_t)topic->room * sizeof *topic->log);
        if (all.topic_count == 1)
            topic->ids = grown(topic->ids, (size_t)topic->room * sizeof *topic->ids);
    }
    if (all.topic_count == 1)
        memcpy(topic->ids[topic->length], id, ID);
    all.events[number].place = topic->length;
    topic->log[topic->length++] = number;
}

static void deliver(struct reader *r, uint64_t at)
{
    struct topic *topic = &all.topics[r->topic];
    if (r->number >= all.event_count || all.events[r->number].topic != r->topic) {
        phase.foreign++;
        return;
    }
    struct event *event = &all.events[r->number];
    if (event->place < 0) {
        if (r->next != topic->length) { /* others saw something else at this place */
            phase.lost += (uint64_t)(topic->length - r->next);
            r->next = topic->length;
        }
        log_event(topic, r->number, r->id);
    }
    if (event->place < r->next) {
        phase.doubled++; /* or out of order */
        return;
    }
    phase.lost += (uint64_t)(event->place - r->next);
    r->next = event->place + 1;
    if (++event->got == event->want && r->number >= phase.first)
        phase.under_way--;
    if (r->late) {
        phase.late++;
    } else if (at <= phase.counted_until) {
        phase.delivered++;
        note(&phase.delay, at > r->sent ? at - r->sent : 0);
    } else {
        phase.after++;
    }
}

/* --- reading a stream --------------------------------------------------------------------------------------------- */

static void watch(struct source *source, unsigned events, int verb)
{
    struct epoll_event e = {.events = events, .data.ptr = source};
    if (epoll_ctl(all.epoll, verb, source->fd, &e))
        die("epoll_ctl: %s", strerror(errno));
}

static void close_reader(struct reader *r)
{
    if (r->source.fd < 0)
        return;
    close(r->source.fd);
    r->source.fd = -1;
    if (r->state == BODY) {
        all.open--;
        all.topics[r->topic].readers--;
    }
    free(r->carry);
    r->carry = NULL;
    r->carried = r->carry_room = 0;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex(const char *p, int digits, uint64_t *value)
{
    *value = 0;
    for (int i = 0; i < digits; i++) {
        int digit = hex(p[i]);
        if (digit < 0)
            return false;
        *value = *value << 4 | (uint64_t)digit;
    }
    return true;
}

static void take_line(struct reader *r, const char *line, size_t length, uint64_t at)
{
    if (length == 0) {
        if (r->marked)
            deliver(r, at);
        phase.events += r->filled;
        r->marked = r->filled = false;
    } else if (line[0] == ':') {
        phase.comments++;
    } else if (length >= 5 && !memcmp(line, "data:", 5)) {
        r->filled = true;
        if (length < 5 + MARKED)
            return;
        const char *value = line + 5;
        const char *end = line + length;
        value += *value == ' ';
        value += *value == '"'; /* those who write JSON */
        uint64_t number;
        if (end - value >= MARKED && *value == '@' && read_hex(value + 1, 16, &r->sent)
            && read_hex(value + 17, 8, &number)) {
            r->number = (int)number;
            r->marked = true;
        }
    } else if (length >= 3 && !memcmp(line, "id:", 3)) {
        const char *value = line + 3 + (line[3] == ' ' && length > 3);
        size_t size = (size_t)(line + length - value);
        if (size < ID) {
            memcpy(r->id, value, size);
            r->id[size] = 0;
        }
    } else if (length >= 9 && !memcmp(line, "event: gap", length < 10 ? length : 10)) {
        phase.gaps++;
    }
}

/* Lines end with LF, CRLF or CR. A CR without an LF after it is rare, so it is searched for last. */
static void take_lines(struct reader *r, const char *line, size_t length, uint64_t at)
{
    const char *lone;
    if (length && line[length - 1] == '\r')
        length--;
    while (length && (lone = memchr(line, '\r', length))) {
        take_line(r, line, (size_t)(lone - line), at);
        length -= (size_t)(lone + 1 - line);
        line = lone + 1;
    }
    take_line(r, line, length, at);
}

/* Remove the chunked framing in place: append the content of [raw, raw + n) to the content that ends at raw. A first
 * slice with nothing before it stays in its place. Returns the beginning of the content, and its end through `end`. */
static char *unframe(struct reader *r, char *raw, size_t n, size_t carried, char **end)
{
    char *begin = raw - carried;
    char *to = raw;
    char *p = raw;
    char *stop = raw + n;
    while (p < stop) {
        if (r->framing == CONTENT) {
            size_t part = (size_t)(stop - p) < r->chunk ? (size_t)(stop - p) : r->chunk;
            if (to == begin)
                begin = to = p;
            else if (to != p)
                memmove(to, p, part);
            to += part;
            p += part;
            r->chunk -= part;
            if (r->chunk == 0)
                r->framing = AFTER;
            continue;
        }
        char c = *p++;
        if (r->framing == SIZE && hex(c) >= 0) {
            r->chunk = r->chunk << 4 | (size_t)hex(c);
        } else if (r->framing == SIZE && c == ';') {
            r->framing = EXTENSION;
        } else if (c == '\n' && r->framing == AFTER) {
            r->framing = SIZE;
        } else if (c == '\n' && (r->framing == SIZE || r->framing == EXTENSION)) {
            r->framing = r->chunk ? CONTENT : OVER;
        }
    }
    *end = to;
    return begin;
}

static void keep(struct reader *r, const char *rest, size_t length)
{
    if (length > r->carry_room) {
        if (length > CARRY)
            die("a line of more than %d bytes", CARRY);
        r->carry_room = length < 256 ? 256 : length * 2;
        r->carry = grown(r->carry, r->carry_room);
    }
    if (length)
        memcpy(r->carry, rest, length);
    r->carried = length;
}

static void take_body(struct reader *r, char *raw, size_t n, size_t carried, uint64_t at)
{
    char *end = raw + n;
    char *p = r->framing == PLAIN ? raw - carried : unframe(r, raw, n, carried, &end);
    char *line_end;
    while (p < end && (line_end = memchr(p, '\n', (size_t)(end - p)))) {
        take_lines(r, p, (size_t)(line_end - p), at);
        p = line_end + 1;
    }
    keep(r, p, (size_t)(end - p));
}

/* Read the head of the response. Returns false when there is no stream. */
static bool take_head(struct reader *r, char *raw, size_t n, size_t carried, uint64_t at)
{
    char *begin = raw - carried;
    char *end = memmem(begin, carried + n, "\r\n\r\n", 4);
    if (!end) {
        keep(r, begin, carried + n);
        return true;
    }
    *end = 0;
    if (strncmp(begin, "HTTP/1.1 200", 12)) {
        all.refused++;
        return false;
    }
    r->state = BODY;
    r->framing = strcasestr(begin, "\r\ntransfer-encoding: chunked") ? SIZE : PLAIN;
    r->chunk = 0;
    r->carried = 0;
    all.open++;
    all.opened++;
    all.topics[r->topic].readers++;
    end += 4;
    take_body(r, end, (size_t)(raw + n - end), 0, at);
    return true;
}

static void read_stream(struct reader *r)
{
    size_t carried = r->carried;
    char *raw = all.buffer + CARRY; /* what is carried lies before what comes */
    ssize_t n = recv(r->source.fd, raw, READ, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        if (r->state == BODY)
            phase.ended++;
        else
            all.failed++;
        close_reader(r);
        return;
    }
    phase.reads++;
    phase.bytes += (uint64_t)n;
    if (carried)
        memcpy(raw - carried, r->carry, carried);
    uint64_t at = now();
    if (r->state == BODY)
        take_body(r, raw, (size_t)n, carried, at);
    else if (!take_head(r, raw, (size_t)n, carried, at))
        close_reader(r);
    if (r->source.fd >= 0 && r->state == BODY && r->framing == OVER) {
        phase.ended++;
        close_reader(r);
    }
}

static void connected(struct reader *r, const char *last_event_id)
{
    char request[512];
    int fault = 0;
    socklen_t size = sizeof fault;
    getsockopt(r->source.fd, SOL_SOCKET, SO_ERROR, &fault, &size);
    int length = snprintf(request, sizeof request,
        "GET %s?topic=t%d HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: sseload\r\n"
        "Accept: text/event-stream\r\nCache-Control: no-cache\r\n%s%s%s\r\n",
        all.path, r->topic, all.port, last_event_id ? "Last-Event-ID: " : "",
        last_event_id ? last_event_id : "", last_event_id ? "\r\n" : "");
    if (fault || send(r->source.fd, request, (size_t)length, MSG_NOSIGNAL) != length) {
        all.failed++;
        close_reader(r);
        return;
    }
    r->state = HEAD;
    watch(&r->source, EPOLLIN, EPOLL_CTL_MOD);
}

/* --- publishing --------------------------------------------------------------------------------------------------- */

static void connect_publisher(struct publisher *p)
{
    int one = 1;
    p->source.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->source.fd < 0 || connect(p->source.fd, (void *)&all.server, sizeof all.server))
        die("a publisher cannot connect: %s", strerror(errno));
    setsockopt(p->source.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    watch(&p->source, EPOLLIN, EPOLL_CTL_ADD);
    p->answered = 0;
}

static struct publisher *idle_publisher(void)
{
    for (int i = 0; i < all.publisher_count; i++)
        if (!all.publishers[i].busy)
            return &all.publishers[i];
    return NULL;
}

/* Publish the next event to a topic; `due` is the time from which its delay counts. */
static void publish(struct publisher *p, int topic, uint64_t due, size_t size)
{
    static char *request;
    static size_t room;
    if (room < size + 512)
        request = grown(request, room = size + 512);
    int number = new_event(topic);
    int head = snprintf(request, room,
        "POST %s?topic=t%d HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n"
        "@%016" PRIx64 "%08x",
        all.path, topic, all.port, size, due, (unsigned)number);
    size_t length = (size_t)head - MARKED + size;
    memset(request + head, 'x', length - (size_t)head);
    if (p->source.fd < 0)
        connect_publisher(p);
    p->busy = true;
    p->since = now();
    phase.under_way += all.events[number].want > 0;
    for (size_t done = 0; done < length;) {
        ssize_t n = send(p->source.fd, request + done, length - done, MSG_NOSIGNAL);
        if (n < 0)
            die("a publish cannot be sent: %s", strerror(errno));
        done += (size_t)n;
    }
}

/* Return true when the answer is whole. */
static bool answer_is_whole(struct publisher *p)
{
    p->answer[p->answered] = 0;
    char *body = strstr(p->answer, "\r\n\r\n");
    if (!body)
        return false;
    body += 4;
    char *field = strcasestr(p->answer, "\r\ncontent-length:");
    if (field && field < body)
        return p->answer + p->answered >= body + strtoul(field + 17, NULL, 10);
    field = strcasestr(p->answer, "\r\ntransfer-encoding: chunked");
    return !(field && field < body) || strstr(body, "0\r\n\r\n");
}

static void read_answer(struct publisher *p)
{
    ssize_t n = recv(p->source.fd, p->answer + p->answered, sizeof p->answer - 1 - p->answered, 0);
    if (n <= 0) { /* closed: normal when idle, an error when an answer was due */
        phase.errors += p->busy;
        p->busy = false;
        close(p->source.fd);
        p->source.fd = -1;
        return;
    }
    p->answered += (size_t)n;
    if (p->answered == sizeof p->answer - 1)
        die("an answer of more than %zu bytes", sizeof p->answer);
    if (!answer_is_whole(p))
        return;
    phase.posts++;
    phase.errors += strncmp(p->answer, "HTTP/1.1 2", 10) != 0;
    note(&phase.post, now() - p->since);
    p->busy = false;
    p->answered = 0;
}

/* --- the loop ----------------------------------------------------------------------------------------------------- */

static const char *opening_id; /* Last-Event-ID of those who connect now */

static void show_progress(void)
{
    uint64_t t = now();
    if (!all.progress || t - phase.told < SECOND)
        return;
    phase.told = t;
    fprintf(stderr, "sseload: %4.1f s, %d open, %d published, %" PRIu64 " delivered\n", seconds(t - phase.began),
        all.open, all.event_count - phase.first, phase.delivered);
}

/* Take one turn: wait at most `timeout` ms, and do what is ready. Returns true when a command waits. */
static bool turn(int timeout)
{
    struct epoll_event ready[BATCH];
    bool command = false;
    int count = epoll_wait(all.epoll, ready, BATCH, timeout);
    for (int i = 0; i < count; i++) {
        struct source *source = ready[i].data.ptr;
        if (source->kind == COMMANDS) {
            command = true;
        } else if (source->kind == TIMER) {
            uint64_t times;
            if (read(source->fd, &times, sizeof times) < 0 && errno != EAGAIN)
                die("timer: %s", strerror(errno));
        } else if (source->fd < 0) {
            continue; /* closed earlier in this turn */
        } else if (source->kind == PUBLISHER) {
            read_answer((struct publisher *)source);
        } else if (((struct reader *)source)->state == CONNECTING) {
            connected((struct reader *)source, opening_id);
        } else {
            read_stream((struct reader *)source);
        }
    }
    show_progress();
    return command;
}

static void alarm_at(uint64_t at)
{
    struct itimerspec when = {.it_value = {(time_t)(at / SECOND), (long)(at % SECOND)}};
    timerfd_settime(all.timer.fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* Return true when every reader that reads has everything. */
static bool settled(void)
{
    for (int i = 0; i < all.publisher_count; i++)
        if (all.publishers[i].busy)
            return false;
    for (int t = 0; t < all.topic_count; t++)
        if (all.topics[t].readers && all.topics[t].length < all.topics[t].published)
            return false;
    for (int i = 0; i < all.count; i++) {
        struct reader *r = &all.readers[i];
        if (r->source.fd >= 0 && !r->stalled && r->next < all.topics[r->topic].length)
            return false;
    }
    return true;
}

static bool settle(double limit)
{
    uint64_t until = now() + (uint64_t)(limit * (double)SECOND);
    while (!settled()) {
        if (now() > until)
            return false;
        uint64_t look = now() + SECOND / 500; /* looking costs a pass over the readers */
        alarm_at(look);
        while (now() < look)
            turn(-1);
    }
    return true;
}

static void answer(const char *what, double elapsed, bool whole)
{
    printf("{\"command\": \"%s\", \"seconds\": %.6f, \"open\": %d, \"published\": %d, \"posts\": %" PRIu64
           ", \"errors\": %" PRIu64 ", \"delivered\": %" PRIu64 ", \"after\": %" PRIu64 ", \"late\": %" PRIu64 ", \"reads\": %" PRIu64
           ", \"bytes\": %" PRIu64 ", \"settled\": %s, \"lost\": %" PRIu64 ", \"doubled\": %" PRIu64
           ", \"foreign\": %" PRIu64 ", \"gaps\": %" PRIu64 ", \"comments\": %" PRIu64 ", \"events\": %" PRIu64 ", \"ended\": %" PRIu64
           ", \"refused\": %d, \"failed\": %d, \"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f, \"max\": %.3f"
           ", \"post_p50\": %.3f, \"post_p99\": %.3f, \"cpu\": %.3f}\n",
        what, elapsed, all.open, all.event_count - phase.first, phase.posts, phase.errors, phase.delivered,
        phase.after, phase.late, phase.reads, phase.bytes, whole ? "true" : "false", phase.lost, phase.doubled, phase.foreign,
        phase.gaps, phase.comments, phase.events, phase.ended, all.refused, all.failed, quantile(&phase.delay, .5),
        quantile(&phase.delay, .9), quantile(&phase.delay, .99), (double)phase.delay.longest / 1e6,
        quantile(&phase.post, .5), quantile(&phase.post, .99), cpu_since(&phase.before));
    fflush(stdout);
}

/* --- the commands ------------------------------------------------------------------------------------------------- */

static void close_all(void)
{
    for (int i = 0; i < all.count; i++)
        close_reader(&all.readers[i]);
    free(all.readers);
    all.readers = NULL;
    all.count = 0;
}

static int settled_readers(void)
{
    return all.opened + all.refused + all.failed;
}

/* Begin to connect, with at most `pending` under way; do what is ready in between, as in a real storm. */
static void open_readers(int count, int place, int pending)
{
    all.readers = grown(NULL, (size_t)(count ? count : 1) * sizeof *all.readers);
    memset(all.readers, 0, (size_t)count * sizeof *all.readers);
    all.opened = all.refused = all.failed = 0;
    for (int i = 0; i < count; i++) {
        struct reader *r = &all.readers[i];
        all.count = i + 1;
        r->topic = i % all.topic_count;
        r->next = place >= 0 ? place : all.topics[r->topic].length;
        r->source.kind = READER;
        r->source.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (r->source.fd < 0)
            die("reader %d: %s; raise the limit of open files", i, strerror(errno));
        if (connect(r->source.fd, (void *)&all.server, sizeof all.server) && errno != EINPROGRESS)
            die("reader %d: %s", i, strerror(errno));
        watch(&r->source, EPOLLOUT, EPOLL_CTL_ADD);
        if (i % 64 == 63)
            turn(0);
        while (all.count - settled_readers() >= pending)
            turn(100);
    }
}

static void await_open(double limit)
{
    uint64_t until = now() + (uint64_t)(limit * (double)SECOND);
    while (settled_readers() < all.count && now() < until)
        turn(100);
}

static void command_open(int count, int topics, int pending)
{
    close_all();
    if (topics != all.topic_count) {
        if (all.event_count)
            die("the number of topics is fixed by the first open");
        all.topics = grown(all.topics, (size_t)topics * sizeof *all.topics);
        memset(all.topics, 0, (size_t)topics * sizeof *all.topics);
        all.topic_count = topics;
    }
    begin_phase();
    opening_id = NULL;
    open_readers(count, -1, pending);
    await_open(60);
    answer("open", seconds(now() - phase.began), all.opened == all.count);
}

/* Leave out the events that were published after the reader's place, so that no reader waits for them. */
static void command_replay(int back)
{
    static char id[ID];
    struct topic *topic = &all.topics[0];
    if (all.topic_count != 1 || back < 1 || back >= topic->length)
        die("replay needs one topic and more events than it goes back");
    int place = topic->length - back;
    int count = all.count;
    memcpy(id, topic->ids[place - 1], ID);
    close_all();
    begin_phase();
    opening_id = id;
    for (int i = place; i < topic->length; i++)
        all.events[topic->log[i]].got = 0;
    open_readers(count, place, count + 1);
    await_open(60);
    bool whole = settle(60);
    opening_id = NULL;
    answer("replay", seconds(now() - phase.began), whole && all.opened == count);
}

static int next_topic(void)
{
    static unsigned turn_of;
    return (int)(turn_of++ % (unsigned)all.topic_count);
}

static void begin_sending(void)
{
    begin_phase();
    for (int i = 0; i < all.count; i++)
        all.readers[i].late = all.readers[i].stalled;
}

static void command_window(int window, double length, size_t size)
{
    begin_sending();
    uint64_t until = phase.counted_until = phase.began + (uint64_t)(length * (double)SECOND);
    alarm_at(until);
    uint64_t t;
    while ((t = now()) < until) {
        struct publisher *p;
        while (phase.under_way < window && (p = idle_publisher()))
            publish(p, next_topic(), now(), size);
        turn(-1);
    }
    answer("window", length, settle(60));
}

static void command_rate(double per_second, double length, size_t size)
{
    begin_sending();
    uint64_t until = phase.began + (uint64_t)(length * (double)SECOND);
    double period = (double)SECOND / per_second;
    uint64_t sent = 0;
    for (;;) {
        uint64_t due = phase.began + (uint64_t)(period * (double)sent);
        struct publisher *p;
        while (due < until && due <= now() && (p = idle_publisher())) {
            publish(p, next_topic(), due, size);
            due = phase.began + (uint64_t)(period * (double)++sent);
        }
        if (due >= until || now() >= until + SECOND)
            break;
        alarm_at(due > now() ? due : now() + SECOND / 1000);
        turn(-1);
    }
    uint64_t last = now();
    answer("rate", seconds((last > until ? last : until) - phase.began), settle(60));
}

static void command_stall(int count)
{
    begin_phase();
    for (int i = all.count - count < 0 ? 0 : all.count - count; i < all.count; i++) {
        struct reader *r = &all.readers[i];
        if (r->source.fd < 0 || r->stalled)
            continue;
        r->stalled = r->late = true;
        watch(&r->source, 0, EPOLL_CTL_MOD);
    }
    answer("stall", 0, true);
}

static void command_resume(double limit)
{
    begin_phase();
    for (int i = 0; i < all.count; i++) {
        struct reader *r = &all.readers[i];
        if (r->stalled && r->source.fd >= 0)
            watch(&r->source, EPOLLIN, EPOLL_CTL_MOD);
        r->stalled = false;
    }
    bool whole = settle(limit);
    answer("resume", seconds(now() - phase.began), whole);
}

/* Look now and then and sleep in between, because waking a waiting reader is expensive, and would be charged to the
 * server, which does not wake readers elsewhere. */
static void command_wait(double length)
{
    const struct timespec nap = {.tv_nsec = 10 * 1000 * 1000};
    begin_phase();
    uint64_t until = phase.began + (uint64_t)(length * (double)SECOND);
    while (now() < until) {
        turn(0);
        nanosleep(&nap, NULL);
    }
    answer("wait", length, true);
}

static void command_take(double length)
{
    begin_phase();
    uint64_t until = phase.began + (uint64_t)(length * (double)SECOND);
    alarm_at(until);
    while (now() < until)
        turn(-1);
    answer("take", seconds(now() - phase.began), true);
}

static void command_close(void)
{
    begin_phase();
    close_all();
    answer("close", seconds(now() - phase.began), true);
}

static void obey(const char *line)
{
    int a, b = 1, c = 0;
    double x, y;
    size_t size;
    if (sscanf(line, "open %d %d %d", &a, &b, &c) >= 1 && a >= 0 && b >= 1 && c >= 0)
        command_open(a, b, c ? c : a + 1);
    else if (!all.topic_count)
        die("%s: open comes first", line);
    else if (sscanf(line, "window %d %lf %zu", &a, &x, &size) == 3 && size >= MARKED)
        command_window(a, x, size);
    else if (sscanf(line, "rate %lf %lf %zu", &x, &y, &size) == 3 && size >= MARKED && x > 0)
        command_rate(x, y, size);
    else if (sscanf(line, "stall %d", &a) == 1)
        command_stall(a);
    else if (sscanf(line, "resume %lf", &x) == 1)
        command_resume(x);
    else if (sscanf(line, "wait %lf", &x) == 1)
        command_wait(x);
    else if (sscanf(line, "take %lf", &x) == 1)
        command_take(x);
    else if (sscanf(line, "replay %d", &a) == 1)
        command_replay(a);
    else if (!strcmp(line, "close"))
        command_close();
    else
        die("%s: no such command, or not its numbers", line);
}

/* --- the start ---------------------------------------------------------------------------------------------------- */

static void read_arguments(int count, char **arguments)
{
    const char *host = "127.0.0.1";
    all.path = "/events";
    all.publisher_count = 8;
    for (int i = 1; i < count; i++) {
        const char *name = arguments[i];
        bool more = i + 1 < count;
        if (!strcmp(name, "--progress"))
            all.progress = true;
        else if (!strcmp(name, "--host") && more)
            host = arguments[++i];
        else if (!strcmp(name, "--path") && more)
            all.path = arguments[++i];
        else if (!strcmp(name, "--publishers") && more)
            all.publisher_count = atoi(arguments[++i]);
        else if (name[0] != '-')
            all.port = atoi(name);
        else
            die("%s: unknown", name);
    }
    all.server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)all.port)};
    if (all.port < 1 || all.port > 65535 || inet_pton(AF_INET, host, &all.server.sin_addr) != 1)
        die("usage: sseload PORT [--host ADDRESS] [--path PATH] [--publishers N] [--progress]");
    if (all.publisher_count < 1 || all.publisher_count > MOST_PUBLISHERS)
        die("--publishers must be 1 to %d", MOST_PUBLISHERS);
}

static void prepare(void)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    all.buffer = grown(NULL, CARRY + READ);
    all.epoll = epoll_create1(EPOLL_CLOEXEC);
    all.timer = (struct source){TIMER, timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)};
    all.commands = (struct source){COMMANDS, STDIN_FILENO};
    watch(&all.timer, EPOLLIN, EPOLL_CTL_ADD);
    watch(&all.commands, EPOLLIN, EPOLL_CTL_ADD);
    for (int i = 0; i < all.publisher_count; i++)
        all.publishers[i].source = (struct source){PUBLISHER, -1};
}

int main(int count, char **arguments)
{
    static char line[256];
    size_t length = 0;
    read_arguments(count, arguments);
    prepare();
    for (;;) {
        if (!turn(-1))
            continue;
        ssize_t n = read(STDIN_FILENO, line + length, 1);
        if (n <= 0)
            return 0;
        if (line[length] == '\n') {
            line[length] = 0;
            length = 0;
            watch(&all.commands, 0, EPOLL_CTL_DEL); /* the next one waits its turn */
            obey(line);
            watch(&all.commands, EPOLLIN, EPOLL_CTL_ADD);
        } else if (++length == sizeof line) {
            die("a command of more than %zu bytes", sizeof line);
        }
    }
}
