// NVRTC's functions: they find the kernels of a source, which are compiled into the driver already, and lines that begin
// with #error. FAKECUDA_NVRTC_FAILS lets every compilation fail.
#include <cstdlib>
#include <cstring>
#include <string>

#define API extern "C" __attribute__((visibility("default"))) int

namespace {

enum { success = 0, invalidInput = 3, invalidProgram = 4, invalidOption = 5, compilation = 6 };

struct Program {
    std::string source, name, log, code;
};

} // namespace

extern "C" __attribute__((visibility("default"))) const char *nvrtcGetErrorString(int code) {
    switch (code) {
    case invalidInput: return "NVRTC_ERROR_INVALID_INPUT";
    case invalidProgram: return "NVRTC_ERROR_INVALID_PROGRAM";
    case invalidOption: return "NVRTC_ERROR_INVALID_OPTION";
    case compilation: return "NVRTC_ERROR_COMPILATION";
    }
    return "NVRTC_ERROR unknown";
}

API nvrtcVersion(int *major, int *minor) {
    *major = 12;
    *minor = 8;
    return success;
}

API nvrtcCreateProgram(void **program, const char *source, const char *name, int headers, const char **texts, const char **names) {
    if (!source)
        return invalidInput;
    auto p = new Program{source, name ? name : "default_program", "", ""};
    for (int i = 0; i < headers; i++) {
        std::string include = "#include \"" + std::string(names[i]) + "\"";
        size_t at = p->source.find(include);
        if (at != std::string::npos)
            p->source.replace(at, include.size(), texts[i]);
    }
    *program = p;
    return success;
}

API nvrtcDestroyProgram(void **program) {
    delete (Program *)*program;
    *program = nullptr;
    return success;
}

API nvrtcCompileProgram(void *program, int n, const char **options) {
    auto p = (Program *)program;
    if (!p)
        return invalidProgram;
    bool arch = false;
    for (int i = 0; i < n; i++) {
        arch = arch || strncmp(options[i], "--gpu-architecture=sm_", 22) == 0;
        if (options[i][0] != '-') {
            p->log = "nvrtc: error: invalid value for " + std::string(options[i]);
            return invalidOption;
        }
    }
    if (!arch)
        return invalidOption;
    if (getenv("FAKECUDA_NVRTC_FAILS")) {
        p->log = p->name + "(7): warning: what it does not mind\n" + p->name + "(8): error: what it does not know\n\n1 error detected\n";
        return compilation;
    }
    size_t at = p->source.find("\n#error ");
    if (at != std::string::npos) {
        p->log = p->name + "(1): error: " + p->source.substr(at + 1, p->source.find('\n', at + 1) - at - 1) + "\n\n1 error detected\n";
        return compilation;
    }
    p->code = ".version 7.0\n";
    for (at = 0; (at = p->source.find("\nKERNEL(", at)) != std::string::npos;) {
        at += 8;
        p->code += ".entry " + p->source.substr(at, p->source.find(',', at) - at) + "(\n";
    }
    return success;
}

API nvrtcGetProgramLogSize(void *program, size_t *n) {
    *n = ((Program *)program)->log.size() + 1;
    return success;
}

API nvrtcGetProgramLog(void *program, char *log) {
    auto p = (Program *)program;
    memcpy(log, p->log.c_str(), p->log.size() + 1);
    return success;
}

API nvrtcGetCUBINSize(void *program, size_t *n) {
    *n = ((Program *)program)->code.size();
    return success;
}

API nvrtcGetCUBIN(void *program, char *code) {
    auto p = (Program *)program;
    memcpy(code, p->code.data(), p->code.size());
    return success;
}
