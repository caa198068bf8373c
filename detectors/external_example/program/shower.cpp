// shower: electrons in a sampling calorimeter of lead and plastic scintillator. README.md says what is simulated.
//
//   shower --config run.ini [--absorber CM] [--gap CM] [--layers N] [--events N] [--seed N]
//          [--energy GEV | --primaries FILE] [--output FILE.csv]
//
// An option overrides the entry of the same name in the configuration file. shower.py is the same in Python.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

struct Material {
    double charge;           // Z
    double radiationLength;  // cm
    double criticalEnergy;   // MeV, of electrons
    double loss;             // MeV/cm, of a minimum ionising particle
};

constexpr Material lead{82.0, 0.5612, 7.43, 12.73};
constexpr Material scintillator{3.5, 41.31, 93.11, 2.052};
constexpr double crossingLoss = 1.15;    // mean deposit of a crossing particle, in minimum losses
constexpr double photoelectrons = 5.0;   // per MeV
constexpr double noise = 1.0;            // MeV per layer
constexpr double threshold = 2.0;        // MeV; a layer with less is not read out
constexpr double decay = 0.5;            // of the profile, per radiation length
constexpr double decaySpread = 0.12;     // of its logarithm, from shower to shower

using Settings = std::map<std::string, std::string>;

Settings defaults() {
    return {{"absorber", "0.2"}, {"gap", "0.2"},  {"layers", "16"},   {"events", "1000"},
            {"seed", "1"},       {"energy", "1"}, {"primaries", ""}, {"output", "shower.csv"}};
}

std::string trimmed(const std::string& text) {
    const char* blank = " \t\r\n";
    const auto first = text.find_first_not_of(blank);
    return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(blank) - first + 1);
}

void set(Settings& settings, const std::string& name, const std::string& value) {
    if (!settings.count(name)) throw std::invalid_argument("unknown setting " + name);
    settings[name] = value;
}

void readConfiguration(Settings& settings, const std::string& path) {
    std::ifstream file(path);
    if (!file) throw std::invalid_argument("cannot read " + path);
    for (std::string line; std::getline(file, line);) {
        line = trimmed(line);
        if (line.empty() || line[0] == ';' || line[0] == '#' || line[0] == '[') continue;
        const auto equals = line.find('=');
        if (equals == std::string::npos) throw std::invalid_argument("no 'name = value' in " + path + ": " + line);
        set(settings, trimmed(line.substr(0, equals)), trimmed(line.substr(equals + 1)));
    }
}

Settings readArguments(int count, char** words) {
    Settings settings = defaults(), given;
    for (int k = 1; k < count; k += 2) {
        const std::string name = words[k];
        if (name.rfind("--", 0) != 0 || k + 1 == count) throw std::invalid_argument("expected --name value: " + name);
        if (name == "--config")
            readConfiguration(settings, words[k + 1]);
        else
            given[name.substr(2)] = words[k + 1];
    }
    for (const auto& [name, value] : given) set(settings, name, value);
    return settings;
}

double number(const std::string& text) {
    std::size_t end = 0;
    double value = 0;
    try {
        value = std::stod(text, &end);
    } catch (const std::exception&) {
    }
    if (end == 0 || end != text.size() || !std::isfinite(value)) throw std::invalid_argument("not a number: " + text);
    return value;
}

long whole(const Settings& settings, const std::string& name, long least) {
    const double value = number(settings.at(name));
    if (value != std::floor(value) || value < least || value > 2147483647.0)
        throw std::invalid_argument(name + " must be a whole number of at least " + std::to_string(least));
    return static_cast<long>(value);
}

// One number for all layers, or one for each, separated by commas.
std::vector<double> thicknesses(const Settings& settings, const std::string& name, std::size_t layers) {
    std::vector<double> values;
    std::stringstream text(settings.at(name));
    for (std::string word; std::getline(text, word, ',');) values.push_back(number(trimmed(word)));
    if (values.size() == 1) values.resize(layers, values[0]);
    if (values.size() != layers) throw std::invalid_argument(name + " needs 1 number or one for each layer");
    for (double value : values)
        if (value <= 0) throw std::invalid_argument(name + " must be above 0 cm");
    return values;
}

// GeV, one of each event: all the same, or the lines of a file, whose first may be a heading.
std::vector<double> energies(const Settings& settings, std::size_t events) {
    std::vector<double> values;
    if (settings.at("primaries").empty()) {
        values.assign(events, number(settings.at("energy")));
    } else {
        std::ifstream file(settings.at("primaries"));
        if (!file) throw std::invalid_argument("cannot read " + settings.at("primaries"));
        bool first = true;
        for (std::string line; std::getline(file, line); first = false)
            if (!trimmed(line).empty() && !(first && std::isalpha(static_cast<unsigned char>(line[0]))))
                values.push_back(number(trimmed(line)));
        if (values.size() != events)
            throw std::invalid_argument(settings.at("primaries") + " must hold one energy for each event");
    }
    for (double value : values)
        if (value <= 0) throw std::invalid_argument("energies must be above 0 GeV");
    return values;
}

// P(a, x), the regularised incomplete gamma function: x^a e^-x / Gamma(a+1) (1 + x/(a+1) + x^2/((a+1)(a+2)) + ...).
double incompleteGamma(double a, double x) {
    if (x <= 0) return 0;
    if (x > a + 60 + 12 * std::sqrt(a)) return 1;
    double term = 1, sum = 1;
    for (int n = 1; term > 1e-12 * sum; ++n) sum += (term *= x / (a + n));
    return std::min(1.0, sum * std::exp(a * std::log(x) - x - std::lgamma(a + 1)));
}

class Calorimeter {
public:
    Calorimeter(std::vector<double> absorber, std::vector<double> gap) : gap_(std::move(gap)), depth_{0.0} {
        double weighted = 0;
        for (std::size_t k = 0; k < gap_.size(); ++k) {
            const double inLead = absorber[k] / lead.radiationLength;
            const double inGap = gap_[k] / scintillator.radiationLength;
            depth_.push_back(depth_.back() + inLead + inGap);
            weighted += inLead * lead.criticalEnergy + inGap * scintillator.criticalEnergy;
            const double minimum = gap_[k] * scintillator.loss;
            fraction_.push_back(electronToMip() * minimum / (minimum + absorber[k] * lead.loss));
        }
        criticalEnergy_ = weighted / depth_.back();
    }

    // MeV in each gap as it is read out, of one electron.
    std::vector<double> shower(double energy, std::mt19937_64& random) const {
        const double length = std::max(std::log(energy / criticalEnergy_), 2.0);
        const double maximum = (length - 0.5) * std::exp(normal(random) / (1.26 * length - 1.4));
        const double b = decay * std::exp(decaySpread * normal(random)), a = 1 + b * maximum;
        std::vector<double> signals;
        double before = 0;
        for (std::size_t k = 0; k < gap_.size(); ++k) {
            const double now = incompleteGamma(a, b * depth_[k + 1]);
            signals.push_back(readOut(deposit(k, energy * (now - before), random), random));
            before = now;
        }
        return signals;
    }

private:
    static double electronToMip() { return 1 / (1 + 0.007 * (lead.charge - scintillator.charge)); }

    static double normal(std::mt19937_64& random) { return std::normal_distribution<double>()(random); }

    static double poisson(double mean, std::mt19937_64& random) {
        return mean > 0 ? static_cast<double>(std::poisson_distribution<long>(mean)(random)) : 0.0;
    }

    // A Poisson number of particles cross the gap, each leaves an exponentially distributed energy.
    double deposit(std::size_t layer, double released, std::mt19937_64& random) const {
        const double each = crossingLoss * scintillator.loss * gap_[layer];
        const double crossings = poisson(fraction_[layer] * released / each, random);
        return crossings > 0 ? std::gamma_distribution<double>(crossings, each)(random) : 0.0;
    }

    static double readOut(double energy, std::mt19937_64& random) {
        const double signal = poisson(photoelectrons * energy, random) / photoelectrons + noise * normal(random);
        return signal < threshold ? 0.0 : signal;
    }

    std::vector<double> gap_, depth_, fraction_;
    double criticalEnergy_ = 0;
};

void run(const Settings& settings) {
    const auto layers = static_cast<std::size_t>(whole(settings, "layers", 1));
    const auto events = static_cast<std::size_t>(whole(settings, "events", 1));
    const Calorimeter calorimeter(thicknesses(settings, "absorber", layers), thicknesses(settings, "gap", layers));
    const auto primaries = energies(settings, events);
    std::mt19937_64 random(static_cast<unsigned long>(whole(settings, "seed", 0)));
    std::FILE* file = std::fopen(settings.at("output").c_str(), "w");
    if (!file) throw std::runtime_error("cannot write " + settings.at("output"));
    std::fputs("energy", file);
    for (std::size_t k = 0; k < layers; ++k) std::fprintf(file, ",edep_%zu", k);
    for (double energy : primaries) {
        std::fprintf(file, "\n%.8g", energy);
        for (double signal : calorimeter.shower(1000 * energy, random)) std::fprintf(file, ",%.6g", signal);
    }
    std::fputs("\n", file);
    const bool failed = std::ferror(file) != 0;
    if (std::fclose(file) != 0 || failed) throw std::runtime_error("cannot write " + settings.at("output"));
}

int main(int count, char** words) {
    try {
        run(readArguments(count, words));
    } catch (const std::invalid_argument& error) {
        std::cerr << "shower: " << error.what() << '\n';
        return 2;
    } catch (const std::exception& error) {
        std::cerr << "shower: " << error.what() << '\n';
        return 1;
    }
}
