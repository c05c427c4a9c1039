/* The floor: what a hand-written server in C needs for the same work, on the same machine, in the same run.
 *
 *     floor PORT [--batch]
 *
 * One thread, one epoll. A publish is sent to each reader at once, by one send() of its own; with --batch, what was
 * published in one turn of epoll leaves joined, by one send() a reader. The floor speaks as much HTTP as sseload does:
 * GET /events, POST /events, GET /health. There is one topic, whatever the query says, no history and no heartbeat.
 * A reader whose socket is full has a backlog of its own, without bound.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 512, BACKLOG = 4096, REQUEST = 2 * 1024 * 1024, MOST = 1 << 20 };

struct buffer {
    char *bytes;
    size_t length, room;
};

struct connection {
    int fd;
    int place;           /* among the readers; -1: it is none */
    struct buffer input; /* an unfinished request */
    struct buffer output;/* what its socket did not take */
    size_t sent;         /* of the output */
};

static int poller, listener;
static bool joined;
static struct connection *connections[MOST]; /* by descriptor */
static struct connection *readers[MOST];
static int reader_count;
static struct buffer blocks; /* --batch: what was published in this turn, unframed */

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void append(struct buffer *b, const void *bytes, size_t length)
{
    if (b->length + length > b->room) {
        b->room = 2 * (b->length + length);
        b->bytes = realloc(b->bytes, b->room);
        if (!b->bytes)
            die("realloc");
    }
    memcpy(b->bytes + b->length, bytes, length);
    b->length += length;
}

static void watch(struct connection *c, unsigned events, int verb)
{
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (epoll_ctl(poller, verb, c->fd, &e))
        die("epoll_ctl");
}

static void leave(struct connection *c)
{
    if (c->place >= 0) {
        readers[c->place] = readers[--reader_count];
        readers[c->place]->place = c->place;
    }
    connections[c->fd] = NULL;
    close(c->fd);
    free(c->input.bytes);
    free(c->output.bytes);
    free(c);
}

/* A reader that is gone is noticed by its own event, not here. */
static void put(struct connection *c, const char *bytes, size_t length)
{
    ssize_t n = 0;
    if (c->output.length == 0) {
        n = send(c->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n == (ssize_t)length)
            return;
        if (n < 0 && errno != EAGAIN)
            return;
        watch(c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
    }
    n = n < 0 ? 0 : n;
    append(&c->output, bytes + n, length - (size_t)n);
}

static void drain(struct connection *c)
{
    ssize_t n = send(c->fd, c->output.bytes + c->sent, c->output.length - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0)
        return;
    c->sent += (size_t)n;
    if (c->sent < c->output.length)
        return;
    free(c->output.bytes);
    c->output = (struct buffer){0};
    c->sent = 0;
    watch(c, EPOLLIN, EPOLL_CTL_MOD);
}

/* One chunk for everybody. */
static void broadcast(const struct buffer *content)
{
    static struct buffer frame;
    char size[24];
    frame.length = 0;
    append(&frame, size, (size_t)snprintf(size, sizeof size, "%zx\r\n", content->length));
    append(&frame, content->bytes, content->length);
    append(&frame, "\r\n", 2);
    for (int i = 0; i < reader_count; i++)
        put(readers[i], frame.bytes, frame.length);
}

static void publish(const char *data, size_t length)
{
    append(&blocks, "data: ", 6);
    append(&blocks, data, length);
    append(&blocks, "\n\n", 2);
    if (!joined) {
        broadcast(&blocks);
        blocks.length = 0;
    }
}

static void reply(struct connection *c, const char *body)
{
    char text[256];
    int length = snprintf(text, sizeof text,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
    put(c, text, (size_t)length);
}

static void subscribe(struct connection *c)
{
    static const char head[] =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
        "Transfer-Encoding: chunked\r\n\r\n3\r\n:\n\n\r\n";
    c->place = reader_count;
    readers[reader_count++] = c;
    put(c, head, sizeof head - 1);
}

/* Answer the request that the input begins with; its length, or 0 while it is not whole. */
static size_t answer(struct connection *c)
{
    char *begin = c->input.bytes;
    char *end = memmem(begin, c->input.length, "\r\n\r\n", 4);
    size_t body = 0;
    if (!end)
        return 0;
    *end = 0;
    char *field = strcasestr(begin, "\r\ncontent-length:");
    if (field)
        body = strtoul(field + 17, NULL, 10);
    *end = '\r';
    end += 4;
    if ((size_t)(begin + c->input.length - end) < body)
        return 0;
    if (!strncmp(begin, "POST /events", 12)) {
        publish(end, body);
        reply(c, "{}");
    } else if (!strncmp(begin, "GET /events", 11)) {
        subscribe(c);
    } else {
        char state[64];
        snprintf(state, sizeof state, "{\"streams\": %d}", reader_count);
        reply(c, state);
    }
    return (size_t)(end + body - begin);
}

static void receive(struct connection *c)
{
    static char bytes[65536];
    ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0 || c->input.length > REQUEST) {
        leave(c);
        return;
    }
    append(&c->input, bytes, (size_t)n);
    size_t taken;
    while (c->input.length && (taken = answer(c))) {
        c->input.length -= taken;
        memmove(c->input.bytes, c->input.bytes + taken, c->input.length);
    }
    if (c->place >= 0) { /* a reader says nothing more */
        free(c->input.bytes);
        c->input = (struct buffer){0};
    }
}

static void accept_all(void)
{
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *c = calloc(1, sizeof *c);
        if (!c || fd >= MOST)
            die("accept");
        c->fd = fd;
        c->place = -1;
        connections[fd] = c;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        watch(c, EPOLLIN, EPOLL_CTL_ADD);
    }
}

static void turn(void)
{
    struct epoll_event ready[BATCH];
    int fds[BATCH];
    int count = epoll_wait(poller, ready, BATCH, -1);
    for (int i = 0; i < count; i++)
        fds[i] = ready[i].data.ptr ? ((struct connection *)ready[i].data.ptr)->fd : listener;
    for (int i = 0; i < count; i++) {
        struct connection *c = ready[i].data.ptr;
        if (!c) {
            accept_all();
            continue;
        }
        if (ready[i].events & EPOLLOUT)
            drain(c);
        if ((ready[i].events & ~(unsigned)EPOLLOUT) && connections[fds[i]] == c)
            receive(c);
    }
    if (blocks.length) {
        broadcast(&blocks);
        blocks.length = 0;
    }
}

int main(int count, char **arguments)
{
    int port = count > 1 ? atoi(arguments[1]) : 0;
    joined = count > 2 && !strcmp(arguments[2], "--batch");
    if (port < 1 || port > 65535 || (count > 2 && !joined)) {
        fprintf(stderr, "usage: floor PORT [--batch]\n");
        return 2;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, BACKLOG))
        die("listen");
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e))
        die("epoll_ctl");
    for (;;)
        turn();
}
