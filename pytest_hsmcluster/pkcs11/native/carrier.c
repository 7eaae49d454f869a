#define _GNU_SOURCE
#include "carrier.h"

#include "frame.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

static _Atomic(exchange) callback;
static atomic_int gone, initialized;

/* A connection is lent to one call at a time, so there are as many as calls have gone on at once.  They stay when the
 * thread that made them ends: with the last of them the application would be over. */
struct connection {
    struct connection *next;
    int socket;  /* -1: there is none now */
    int lent;
    unsigned long era;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;  /* of these; held for a few lines, never across a carrier */
static struct connection *connections;
static unsigned long era;  /* a connection of an earlier one is closed and made anew */
static struct sockaddr_un address = {.sun_family = AF_UNIX};

EXPORTED void hsmcluster_carry(exchange function);

/* Python hands its function over, and takes it out again (NULL) before the interpreter ends. */
EXPORTED void hsmcluster_carry(exchange function)
{
    atomic_store(&gone, function == NULL);
    atomic_store(&callback, function);
    if (function == NULL)
        atomic_store(&initialized, 0);
}

static void close_connection(struct connection *one)
{
    if (one->socket >= 0)
        close(one->socket);
    one->socket = -1;
}

static void before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void be_a_parent(void)
{
    pthread_mutex_unlock(&lock);
}

/* A forked child has the memory of its parent, but nobody there who would answer; the parent's connections are the
 * parent's, and are not to stay open when it dies.  The child has to call C_Initialize. */
static void be_a_child(void)
{
    atomic_store(&callback, (exchange)NULL);
    atomic_store(&gone, 0);
    atomic_store(&initialized, 0);
    era++;
    for (struct connection *one = connections; one != NULL; one = one->next) {
        close_connection(one);
        one->lent = 0;
    }
    pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void loaded(void)
{
    pthread_atfork(before_fork, be_a_parent, be_a_child);
}

enum carrier carrier(void)
{
    if (atomic_load(&callback) != NULL)
        return CALLBACK;
    if (atomic_load(&gone))
        return GONE;
    const char *path = getenv(SOCKET_VARIABLE);
    return path != NULL && *path != '\0' ? SOCKET : NOBODY;
}

int started(void)
{
    return atomic_load(&initialized);
}

void set_started(int value)
{
    atomic_store(&initialized, value);
}

/* All connections from one C_Initialize to the C_Finalize lead to one place, wherever the environment leads by then. */
void remember_socket(void)
{
    const char *path = getenv(SOCKET_VARIABLE);
    pthread_mutex_lock(&lock);
    memset(address.sun_path, 0, sizeof address.sun_path);
    if (path != NULL && strlen(path) < sizeof address.sun_path)
        strcpy(address.sun_path, path);
    pthread_mutex_unlock(&lock);
}

void hang_up(void)
{
    pthread_mutex_lock(&lock);
    era++;
    for (struct connection *one = connections; one != NULL; one = one->next)
        if (!one->lent)
            close_connection(one);
    pthread_mutex_unlock(&lock);
}

void complain(const char *what)
{
    fprintf(stderr, "hsmcluster: %s\n", what);
}

static int send_all(int socket, const unsigned char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(socket, bytes, length, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return 0;
        bytes += sent;
        length -= (size_t)sent;
    }
    return 1;
}

static int receive_all(int socket, unsigned char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t received = recv(socket, bytes, length, 0);
        if (received < 0 && errno == EINTR)
            continue;
        if (received <= 0)
            return 0;
        bytes += received;
        length -= (size_t)received;
    }
    return 1;
}

static int send_frame(int socket, const unsigned char *frame, size_t length)
{
    unsigned char size[4] = {(unsigned char)length, (unsigned char)(length >> 8), (unsigned char)(length >> 16),
                             (unsigned char)(length >> 24)};
    return send_all(socket, size, sizeof size) && send_all(socket, frame, length);
}

/* Connect, and say who it is: connections of one process in one era are those of one application. */
static int connected(const struct sockaddr_un *there, unsigned long now)
{
    int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), refused;
    if (made < 0)
        return -1;
    struct writer hello;
    begin(&hello, 64);
    put_number(&hello, 0);
    put_number(&hello, (uint64_t)getpid());
    put_number(&hello, now);
    do
        refused = connect(made, (const struct sockaddr *)there, sizeof *there);
    while (refused && errno == EINTR);
    if (refused || !send_frame(made, hello.bytes, hello.length)) {
        close(made);
        return -1;
    }
    return made;
}

static struct connection *borrowed(void)
{
    pthread_mutex_lock(&lock);
    struct connection *found = connections;
    while (found != NULL && found->lent)
        found = found->next;
    if (found == NULL && (found = malloc(sizeof *found)) != NULL) {
        found->next = connections;
        found->socket = -1;
        connections = found;
    }
    struct sockaddr_un there = address;
    if (found != NULL) {
        found->lent = 1;
        if (found->socket < 0)
            found->era = era;
    }
    pthread_mutex_unlock(&lock);
    if (found != NULL && found->socket < 0)
        found->socket = connected(&there, found->era);
    return found;
}

static void give_back(struct connection *one, int broken)
{
    pthread_mutex_lock(&lock);
    one->lent = 0;
    if (broken || one->era != era)
        close_connection(one);
    pthread_mutex_unlock(&lock);
}

static long over_socket(const unsigned char *request, size_t length, unsigned char *answer, size_t room)
{
    struct connection *here = borrowed();
    unsigned char size[4];
    long answered = 0;
    if (here == NULL)
        return 0;
    if (here->socket >= 0 && send_frame(here->socket, request, length) &&
        receive_all(here->socket, size, sizeof size)) {
        size_t told = size[0] | (size_t)size[1] << 8 | (size_t)size[2] << 16 | (size_t)size[3] << 24;
        /* Both begin with the number of the call.  After an answer to another one nothing that comes on this
         * connection can be trusted. */
        if (told >= SEQUENCE && told <= room && receive_all(here->socket, answer, told) &&
            memcmp(answer, request, SEQUENCE) == 0)
            answered = (long)told;
    }
    give_back(here, answered == 0);
    return answered;
}

long carry(const unsigned char *request, size_t length, unsigned char *answer, size_t room)
{
    exchange function = atomic_load(&callback);
    if (function != NULL)
        return function(request, length, answer, room);
    return atomic_load(&gone) ? 0 : over_socket(request, length, answer, room);
}
