/* The PKCS#11 library: it knows nothing of keys.
 *
 * Each function is a line in a generated table.  `call` walks that line twice: first it writes the arguments into a
 * frame, then, when somebody has carried the frame and brought an answer, it writes the answer to where the
 * arguments point.  No lock is held, and no function of the application's is called. */

#include "carrier.h"
#include "frame.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define CK_PTR *
#define CK_DEFINE_FUNCTION(type, name) type name
#define CK_DECLARE_FUNCTION(type, name) __attribute__((visibility("default"))) type name
#define CK_DECLARE_FUNCTION_POINTER(type, name) type(*name)
#define CK_CALLBACK_FUNCTION(type, name) type(*name)
#define NULL_PTR NULL
#define CK_PKCS11_2_0_ONLY 1
#include "oasis/pkcs11.h"

struct field {
    size_t offset, size;  /* a size above 8 or of 2 is text or a version, otherwise it is a number */
};

static CK_RV call(uint16_t number, const unsigned char *takes, ...);

#include "functions.inc"

enum { MOST_ARGUMENTS = 6, MOST_ATTRIBUTES = 1024, MOST_DATA = 64, HEADER = 8 };
enum { BAD_SHAPE = 255 };
enum { NO_LENGTH, LENGTH_ONLY, BUFFER };

/* One argument, as far as an answer goes into it. */
struct place {
    enum kind kind;
    void *there;
    CK_ULONG_PTR length;
    CK_ULONG room;
};

/* -- from arguments to a frame ---------------------------------------------------------------------- */

static void put_oaep(struct writer *frame, const CK_RSA_PKCS_OAEP_PARAMS *given)
{
    put_number(frame, given->hashAlg);
    put_number(frame, given->mgf);
    put_number(frame, given->source);
    put_bytes(frame, given->pSourceData, given->ulSourceDataLen);
}

/* PKCS #11 v2.40 as first printed has no ulIvBits; its errata have. */
struct gcm_as_printed {
    CK_BYTE_PTR pIv;
    CK_ULONG ulIvLen;
    CK_BYTE_PTR pAAD;
    CK_ULONG ulAADLen;
    CK_ULONG ulTagBits;
};

static int put_gcm(struct writer *frame, const CK_MECHANISM *mechanism, struct place *place)
{
    CK_GCM_PARAMS given = {0};
    if (mechanism->ulParameterLen == sizeof given) {
        memcpy(&given, mechanism->pParameter, sizeof given);
    } else if (mechanism->ulParameterLen == sizeof(struct gcm_as_printed)) {
        struct gcm_as_printed printed;
        memcpy(&printed, mechanism->pParameter, sizeof printed);
        given.pIv = printed.pIv;
        given.ulIvLen = printed.ulIvLen;
        given.pAAD = printed.pAAD;
        given.ulAADLen = printed.ulAADLen;
        given.ulTagBits = printed.ulTagBits;
    } else {
        return 0;
    }
    put_number(frame, GCM);
    put_bytes(frame, given.pIv, given.ulIvLen);
    put_bytes(frame, given.pAAD, given.ulAADLen);
    put_number(frame, given.ulTagBits);
    if (given.pIv != NULL) {
        place->there = given.pIv;  /* the HSM makes the IV */
        place->room = given.ulIvLen;
    }
    return 1;
}

static int put_kdf(struct writer *frame, const CK_SP800_108_KDF_PARAMS *given)
{
    if (given->ulNumberOfDataParams > MOST_DATA || (given->ulNumberOfDataParams > 0 && given->pDataParams == NULL))
        return 0;
    put_number(frame, KDF);
    put_number(frame, given->prfType);
    put_number(frame, given->ulAdditionalDerivedKeys);
    put_number(frame, given->ulNumberOfDataParams);
    for (CK_ULONG i = 0; i < given->ulNumberOfDataParams; i++) {
        const CK_PRF_DATA_PARAM *data = &given->pDataParams[i];
        put_number(frame, data->type);
        put_bytes(frame, data->pValue, data->ulValueLen);
    }
    return 1;
}

/* Write what the parameter of a mechanism points to; 0 if it is not what the mechanism takes. */
static int put_shaped(struct writer *frame, const CK_MECHANISM *mechanism, struct place *place)
{
    const void *given = mechanism->pParameter;
    CK_ULONG size = mechanism->ulParameterLen;
    enum shape shape = shape_of(mechanism->mechanism);
    if (shape == PLAIN || (given == NULL && size == 0)) {
        put_number(frame, PLAIN);
        put_bytes(frame, given, size);
        return 1;
    }
    if (given == NULL)
        return 0;
    if (shape == GCM)
        return put_gcm(frame, mechanism, place);
    if (shape == KDF && size == sizeof(CK_SP800_108_KDF_PARAMS))
        return put_kdf(frame, given);
    if (shape == OAEP && size == sizeof(CK_RSA_PKCS_OAEP_PARAMS)) {
        put_number(frame, OAEP);
        put_oaep(frame, given);
        return 1;
    }
    if (shape == ECDH && size == sizeof(CK_ECDH1_DERIVE_PARAMS)) {
        const CK_ECDH1_DERIVE_PARAMS *ecdh = given;
        put_number(frame, ECDH);
        put_number(frame, ecdh->kdf);
        put_bytes(frame, ecdh->pSharedData, ecdh->ulSharedDataLen);
        put_bytes(frame, ecdh->pPublicData, ecdh->ulPublicDataLen);
        return 1;
    }
    if (shape == RSA_AES && size == sizeof(CK_RSA_AES_KEY_WRAP_PARAMS)) {
        const CK_RSA_AES_KEY_WRAP_PARAMS *wrap = given;
        if (wrap->pOAEPParams == NULL)
            return 0;
        put_number(frame, RSA_AES);
        put_number(frame, wrap->ulAESKeyBits);
        put_oaep(frame, wrap->pOAEPParams);
        return 1;
    }
    return 0;
}

static void put_mechanism(struct writer *frame, const CK_MECHANISM *mechanism, struct place *place)
{
    put_number(frame, mechanism != NULL);
    if (mechanism == NULL)
        return;
    put_number(frame, mechanism->mechanism);
    if (!put_shaped(frame, mechanism, place)) {
        put_number(frame, BAD_SHAPE);
        put_number(frame, mechanism->ulParameterLen);
    }
}

static void put_template(struct writer *frame, const CK_ATTRIBUTE *attributes, CK_ULONG count, int depth)
{
    if (attributes == NULL && count > 0) {
        put_number(frame, ABSENT);
        return;
    }
    put_number(frame, count);
    if (count > MOST_ATTRIBUTES)
        frame->failed = 1;
    for (CK_ULONG i = 0; i < count && !frame->failed; i++) {
        const CK_ATTRIBUTE *one = &attributes[i];
        put_number(frame, one->type);
        if ((one->type & CKF_ARRAY_ATTRIBUTE) && depth == 0 && one->ulValueLen % sizeof(CK_ATTRIBUTE) == 0)
            put_template(frame, one->pValue, one->ulValueLen / sizeof(CK_ATTRIBUTE), 1);
        else if (one->type & CKF_ARRAY_ATTRIBUTE)
            put_number(frame, ABSENT);
        else
            put_bytes(frame, one->pValue, one->ulValueLen);
    }
}

static void put_rooms(struct writer *frame, const CK_ATTRIBUTE *attributes, CK_ULONG count)
{
    if (attributes == NULL && count > 0) {
        put_number(frame, ABSENT);
        return;
    }
    put_number(frame, count);
    if (count > MOST_ATTRIBUTES)
        frame->failed = 1;
    for (CK_ULONG i = 0; i < count && !frame->failed; i++) {
        put_number(frame, attributes[i].type);
        put_number(frame, attributes[i].pValue == NULL ? ABSENT : attributes[i].ulValueLen);
    }
}

static void put_room(struct writer *frame, const struct place *place)
{
    put_number(frame, place->length == NULL ? NO_LENGTH : place->there == NULL ? LENGTH_ONLY : BUFFER);
    put_number(frame, place->room);
}

static void put_start(struct writer *frame, const CK_C_INITIALIZE_ARGS *given)
{
    put_number(frame, given != NULL);
    put_number(frame, given == NULL ? 0 : given->flags);
    put_number(frame, given != NULL && given->pReserved != NULL);
    put_number(frame, given == NULL ? 0
                                    : (given->CreateMutex != NULL) + (given->DestroyMutex != NULL) +
                                          (given->LockMutex != NULL) + (given->UnlockMutex != NULL));
}

static void put_argument(struct writer *frame, enum kind kind, va_list *given, struct place *place)
{
    void *pointer;
    CK_ULONG count;
    place->kind = kind;
    switch (kind) {
    case ULONG_ARG:
        put_number(frame, va_arg(*given, CK_ULONG));
        break;
    case FLAG_ARG:
        put_number(frame, va_arg(*given, int) != 0);
        break;
    case NOTIFY_ARG:
        put_number(frame, va_arg(*given, CK_NOTIFY) != NULL);
        break;
    case START_ARG:
        put_start(frame, va_arg(*given, void *));
        break;
    case BYTES_ARG:
        pointer = va_arg(*given, CK_BYTE_PTR);
        put_bytes(frame, pointer, va_arg(*given, CK_ULONG));
        break;
    case MECHANISM_ARG:
        put_mechanism(frame, va_arg(*given, CK_MECHANISM_PTR), place);
        break;
    case TEMPLATE_ARG:
    case ATTRIBUTES_ARG:
        pointer = va_arg(*given, CK_ATTRIBUTE_PTR);
        count = va_arg(*given, CK_ULONG);
        place->there = pointer;
        place->room = count;
        if (kind == TEMPLATE_ARG)
            put_template(frame, pointer, count, 0);
        else
            put_rooms(frame, pointer, count);
        break;
    case OUTPUT_ARG:
    case LIST_ARG:
        place->there = kind == OUTPUT_ARG ? (void *)va_arg(*given, CK_BYTE_PTR) : (void *)va_arg(*given, CK_ULONG_PTR);
        place->length = va_arg(*given, CK_ULONG_PTR);
        place->room = place->length == NULL ? 0 : *place->length;
        put_room(frame, place);
        break;
    case FILL_ARG:
        place->there = va_arg(*given, CK_BYTE_PTR);
        place->room = va_arg(*given, CK_ULONG);
        put_number(frame, place->there == NULL && place->room > 0 ? ABSENT : place->room);
        break;
    case FOUND_ARG:
        place->there = va_arg(*given, CK_ULONG_PTR);
        place->room = va_arg(*given, CK_ULONG);
        place->length = va_arg(*given, CK_ULONG_PTR);
        put_number(frame, place->there != NULL && place->length != NULL);
        put_number(frame, place->room);
        break;
    default:  /* a pointer: to a struct, to a number, or reserved */
        place->there = va_arg(*given, void *);
        put_number(frame, place->there != NULL);
    }
}

/* -- from an answer to the arguments ------------------------------------------------------------------- */

static void get_struct(struct reader *answer, const struct place *place)
{
    for (const struct field *field = fields_of(place->kind); field->size > 0; field++) {
        unsigned char *there = (unsigned char *)place->there + field->offset;
        if (field->size == sizeof(CK_ULONG)) {
            CK_ULONG number = (CK_ULONG)get_number(answer);
            memcpy(there, &number, sizeof number);
        } else {
            const unsigned char *bytes = get(answer, field->size);
            if (bytes != NULL)
                memcpy(there, bytes, field->size);
        }
    }
}

static void get_attributes(struct reader *answer, const struct place *place)
{
    CK_ATTRIBUTE_PTR attributes = place->there;
    if (get_number(answer) != place->room)
        answer->failed = 1;
    for (CK_ULONG i = 0; i < place->room && !answer->failed; i++) {
        uint64_t told = get_number(answer), length;
        const unsigned char *bytes = get_bytes(answer, &length);
        if (length > 0 && (attributes[i].pValue == NULL || length > attributes[i].ulValueLen))
            answer->failed = 1;
        if (answer->failed)
            return;
        if (length > 0)
            memcpy(attributes[i].pValue, bytes, (size_t)length);
        attributes[i].ulValueLen = (CK_ULONG)told;
    }
}

static void get_output(struct reader *answer, const struct place *place)
{
    uint64_t told = get_number(answer), length;
    const unsigned char *bytes = get_bytes(answer, &length);
    if (length > 0 && (place->there == NULL || length > place->room))
        answer->failed = 1;
    if (answer->failed)
        return;
    if (length > 0)
        memcpy(place->there, bytes, (size_t)length);
    if (told != ABSENT && place->length != NULL)
        *place->length = (CK_ULONG)told;
}

static void get_numbers(struct reader *answer, const struct place *place)
{
    uint64_t told = get_number(answer), count = get_number(answer);
    if (count > 0 && (place->there == NULL || count > place->room))
        answer->failed = 1;
    for (uint64_t i = 0; i < count && !answer->failed; i++) {
        uint64_t number = get_number(answer);
        if (!answer->failed)
            ((CK_ULONG_PTR)place->there)[i] = (CK_ULONG)number;
    }
    if (!answer->failed && told != ABSENT && place->length != NULL)
        *place->length = (CK_ULONG)told;
}

static void get_result(struct reader *answer, const struct place *place)
{
    uint64_t number, length;
    const unsigned char *bytes;
    switch (place->kind) {
    case MECHANISM_ARG:
    case FILL_ARG:
        bytes = get_bytes(answer, &length);
        if (length > 0 && (place->there == NULL || length > place->room))
            answer->failed = 1;
        else if (length > 0)
            memcpy(place->there, bytes, (size_t)length);
        break;
    case ATTRIBUTES_ARG:
        get_attributes(answer, place);
        break;
    case OUTPUT_ARG:
        get_output(answer, place);
        break;
    case LIST_ARG:
    case FOUND_ARG:
        get_numbers(answer, place);
        break;
    case NUMBER_ARG:
        number = get_number(answer);
        if (!answer->failed && place->there != NULL)
            *(CK_ULONG_PTR)place->there = (CK_ULONG)number;
        else
            answer->failed = 1;
        break;
    default:
        if (fields_of(place->kind) != NULL) {
            if (place->there == NULL)
                answer->failed = 1;
            else
                get_struct(answer, place);
        }
    }
}

/* Return how long an answer may be: as long as all that it can be written to, and what stands between. */
static size_t room_for(const struct place *places, int count)
{
    size_t room = 1024;
    for (int i = 0; i < count; i++) {
        size_t each = places[i].kind == LIST_ARG || places[i].kind == FOUND_ARG ? 8 : 1;
        size_t most = places[i].there == NULL ? 0 : places[i].room;
        if (places[i].kind == ATTRIBUTES_ARG || most > FRAME_LIMIT / each)
            return FRAME_LIMIT;
        room += most * each;
    }
    return room < FRAME_LIMIT ? room : FRAME_LIMIT;
}

static CK_RV understood(struct reader *answer, uint32_t sequence, const struct place *places, int count)
{
    const unsigned char *echo = get(answer, HEADER);
    CK_RV result = (CK_RV)get_number(answer);
    if (answer->failed ||
        (echo[0] | (uint32_t)echo[1] << 8 | (uint32_t)echo[2] << 16 | (uint32_t)echo[3] << 24) != sequence)
        return CKR_GENERAL_ERROR;
    /* An answer may end after its result: then nothing is written. */
    for (int i = 0; i < count && !answer->failed && answer->at < answer->end; i++)
        get_result(answer, &places[i]);
    return answer->failed || answer->at != answer->end ? CKR_GENERAL_ERROR : result;
}

static CK_RV exchanged(const struct writer *request, uint32_t sequence, const struct place *places, int count)
{
    unsigned char own[4096], *bytes = own;
    size_t room = room_for(places, count);
    if (room > sizeof own && (bytes = malloc(room)) == NULL)
        return CKR_HOST_MEMORY;
    CK_RV result = CKR_GENERAL_ERROR;
    long length = carry(request->bytes, request->length, bytes, room);
    if (length > 0 && (unsigned long)length <= room) {
        struct reader answer = {bytes, bytes + length, 0};
        result = understood(&answer, sequence, places, count);
        volatile unsigned char *wiped = bytes;  /* it may have been a plaintext */
        for (long i = 0; i < length; i++)
            wiped[i] = 0;
    }
    if (bytes != own)
        free(bytes);
    return result;
}

/* -- one call --------------------------------------------------------------------------------------------- */

enum { INITIALIZE = 1, FINALIZE = 2, CLOSE_SESSION = 14 };

/* Return what the library answers alone, or CKR_OK if somebody is to be asked. */
static CK_RV alone(uint16_t number)
{
    if (number == INITIALIZE) {
        if (carrier() != NOBODY && carrier() != GONE)
            return CKR_OK;
        complain(carrier() == GONE ? "C_Initialize: the test run that carried the calls has ended"
                                   : "C_Initialize: no cluster is running: use the fixture hsm_pkcs11, and in other "
                                     "processes its environment (" SOCKET_VARIABLE ")");
        return CKR_GENERAL_ERROR;
    }
    return started() ? CKR_OK : CKR_CRYPTOKI_NOT_INITIALIZED;
}

static CK_RV call(uint16_t number, const unsigned char *takes, ...)
{
    static atomic_uint calls;
    uint32_t sequence = atomic_fetch_add(&calls, 1);
    unsigned char header[HEADER] = {(unsigned char)sequence, (unsigned char)(sequence >> 8),
                                    (unsigned char)(sequence >> 16), (unsigned char)(sequence >> 24), WIRE_VERSION, 0,
                                    (unsigned char)number, (unsigned char)(number >> 8)};
    struct place places[MOST_ARGUMENTS] = {{END, NULL, NULL, 0}};
    struct writer request;
    va_list given;
    int count = 0;

    CK_RV result = alone(number);
    if (result != CKR_OK) {
        /* Whoever tidies up after the interpreter has ended has nothing left to do. */
        int tidies = number == FINALIZE || number == CLOSE_SESSION;
        return carrier() == GONE && tidies ? CKR_OK : result;
    }
    begin(&request, FRAME_LIMIT);
    put(&request, header, sizeof header);
    va_start(given, takes);
    for (; takes[count] != END; count++)
        put_argument(&request, takes[count], &given, &places[count]);
    va_end(given);
    result = request.failed ? CKR_DATA_LEN_RANGE : exchanged(&request, sequence, places, count);
    discard(&request);
    if (number == INITIALIZE && result == CKR_OK)
        set_started(1);
    if (number == FINALIZE && result == CKR_OK) {
        set_started(0);
        hang_up();
    }
    return result;
}

/* -- the list of all functions -------------------------------------------------------------------------------- */

static const CK_FUNCTION_LIST FUNCTION_LIST = {{2, 40}, ALL_FUNCTIONS};

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list)
{
    if (list == NULL)
        return CKR_ARGUMENTS_BAD;
    *list = (CK_FUNCTION_LIST_PTR)&FUNCTION_LIST;
    return CKR_OK;
}
