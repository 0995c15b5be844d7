package inspection

import (
	"strings"
	"unicode"
)

// NoLanguage is the language of a caption without letters.
const NoLanguage = "no letters"

// scripts are those that captions are told apart by. What a script is named after is a language where only one is
// written in it.
var scripts = []struct {
	name  string
	table *unicode.RangeTable
}{
	{"Latin", unicode.Latin}, {"Han", unicode.Han}, {"kana", unicode.Hiragana}, {"kana", unicode.Katakana},
	{"Korean", unicode.Hangul}, {"Cyrillic", unicode.Cyrillic}, {"Arabic", unicode.Arabic}, {"Greek", unicode.Greek},
	{"Hebrew", unicode.Hebrew}, {"Devanagari", unicode.Devanagari}, {"Thai", unicode.Thai}, {"Bengali", unicode.Bengali},
	{"Tamil", unicode.Tamil}, {"Georgian", unicode.Georgian}, {"Armenian", unicode.Armenian},
}

// languageOf guesses the language of a caption, without its placeholders: by the script that most letters are of, and
// among those written in Latin letters by words that are frequent in each.
//
// It tells Chinese, Japanese, Korean, Greek, Hebrew, Thai, Tamil, Georgian and Armenian by their letters, Russian,
// Ukrainian and Persian by some of theirs, and the languages of [frequent] by words. It cannot name others, nor a Latin
// caption that has none of these words, as short ones often do not: it then names the script alone.
func languageOf(list []token) string {
	count := make(map[string]int)
	letters := 0
	var russian, ukrainian, persian bool
	for _, t := range list {
		if t.kind != word {
			continue
		}
		for _, r := range t.text {
			if !unicode.IsLetter(r) {
				continue
			}
			letters++
			if r < unicode.MaxASCII {
				count["Latin"]++
				continue
			}
			for _, s := range scripts {
				if unicode.Is(s.table, r) {
					count[s.name]++
					break
				}
			}
			russian = russian || strings.ContainsRune("ыэъёЫЭЪЁ", r)
			ukrainian = ukrainian || strings.ContainsRune("іїєґІЇЄҐ", r)
			persian = persian || strings.ContainsRune("پچژگ", r)
		}
	}
	if letters == 0 {
		return NoLanguage
	}
	if kana := count["kana"]; 10*kana >= letters {
		return "Japanese"
	}
	best := "another script"
	for _, s := range scripts { // of equals, the first
		if count[s.name] > count[best] {
			best = s.name
		}
	}
	switch best {
	case "Latin":
		return latinLanguage(list)
	case "Han":
		return "Chinese"
	case "Cyrillic":
		if russian != ukrainian {
			return map[bool]string{true: "Russian", false: "Ukrainian"}[russian]
		}
		return "Cyrillic script"
	case "Arabic":
		if persian {
			return "Persian"
		}
		return "Arabic script"
	case "Devanagari", "Bengali", "another script":
		return strings.TrimSuffix(best, " script") + " script"
	}
	return best
}

// frequent lists words of some languages that are written in Latin letters: function words, and for English those
// that captions are full of.
var frequent = []struct{ language, words string }{
	{"English", `the of and to in is with that a an on for as from by at it its this these are be or into their which how while each
		between within through using over both other same where when than during under around creating image images shape shapes
		shaped use used showing shows depicts represents illustrates no not he she they his her their arranged made creative form forms different various growing`},
	{"German", `der die das und ist mit von ein eine einer eines einem einen zu den dem des für auf im nicht sich auch wie aus bei
		nach oder über wird werden zwischen durch zeigt bild`},
	{"French", `le la les des et est un une du dans avec pour par sur qui que au aux ce cette ces ou sont entre leur plus sous chaque
		image montre d l`},
	{"Spanish", `el la los las y es un una de del en con por para que se como su sus al o más entre sobre desde este esta cada muestra
		imagen`},
	{"Italian", `il lo la gli le e è un una di del della dei delle in con per che si come su al da nel nella o tra ogni questa immagine
		sono`},
	{"Portuguese", `o a os as e é um uma de do da dos das em no na nos nas com por para que se como ao entre sobre mais cada imagem
		mostra não`},
	{"Dutch", `de het een en van is met op in te dat die voor aan door uit naar bij als of zijn wordt worden tussen over elke deze
		afbeelding`},
	{"Swedish", `och är en ett av med på som för till från den det de i att ur eller mellan över under bild visar inte varje`},
	{"Danish or Norwegian", `og er en et af av med på som for til fra den det de i at eller mellem mellom over under bilde billede viser
		ikke hver`},
	{"Polish", `i w z na do jest to się nie że o od po przez dla oraz jak lub między który która które każdy obraz pokazuje są`},
	{"Czech", `a v s na do je to se že o od po pro které který která nebo jako mezi každý obrázek jsou ve ze`},
	{"Turkish", `ve bir bu ile için olan da de gibi daha çok olarak her veya arasında gösteren görüntü`},
	{"Romanian", `și este un o de la în cu pe din care pentru prin ale sau între fiecare imagine sunt`},
	{"Finnish", `ja on ei se että joka kuin sekä tai jossa kuva ovat sen tämä välillä kanssa`},
	{"Hungarian", `a az és egy hogy nem is van meg ez mint vagy között minden kép való`},
	{"Indonesian or Malay", `yang dan di dari untuk dengan ini itu pada adalah dalam ke sebagai atau oleh sebuah gambar setiap antara`},
	{"Vietnamese", `và của là một các trong có được cho với không này đến những hình ảnh từ`},
}

// frequentWords has for each word its languages.
var frequentWords = func() map[string][]int {
	m := make(map[string][]int)
	for k, l := range frequent {
		for w := range strings.FieldsSeq(l.words) {
			m[w] = append(m[w], k)
		}
	}
	return m
}()

// latinLanguage adds up, for each language, 1 for each frequent word that only it has, and 1/n for those that n have.
// One and a half times as much as the next one has is enough.
func latinLanguage(list []token) string {
	score := make([]float64, len(frequent))
	for _, t := range list {
		if t.kind != word {
			continue
		}
		languages := frequentWords[strings.ToLower(t.text)]
		for _, k := range languages {
			score[k] += 1 / float64(len(languages))
		}
	}
	best, next := 0, 0.0
	for k := range score {
		if score[k] > score[best] {
			best = k
		}
	}
	for k := range score {
		if k != best {
			next = max(next, score[k])
		}
	}
	if score[best] == 0 || score[best] < 1.5*next {
		return "Latin script"
	}
	return frequent[best].language
}
