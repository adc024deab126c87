package app

import "fmt"

// category is a shelf of the shop: its usual price in cents and what lies there.
type category struct {
	name  string
	price int
	nouns []string
}

var catalogue = [...]category{
	{"Kitchen", 2400, []string{"Teapot", "Cutting Board", "Frying Pan", "Coffee Mill", "Bread Bin", "Saucepan", "Kettle", "Mixing Bowl"}},
	{"Lighting", 5900, []string{"Desk Lamp", "Floor Lamp", "Pendant", "Wall Light", "Lantern", "Reading Light", "Night Light", "Candle Holder"}},
	{"Furniture", 18900, []string{"Armchair", "Bookcase", "Side Table", "Stool", "Desk", "Bench", "Wardrobe", "Bed Frame"}},
	{"Garden", 3200, []string{"Watering Can", "Planter", "Bird Bath", "Trowel", "Trellis", "Garden Chair", "Rake", "Bird Feeder"}},
	{"Office", 1500, []string{"Notebook", "Pen Tray", "Letter Rack", "Stapler", "Desk Pad", "Bookend", "Paper Tray", "Clipboard"}},
	{"Textiles", 3900, []string{"Blanket", "Cushion", "Tablecloth", "Bath Towel", "Curtain", "Rug", "Apron", "Doormat"}},
	{"Toys", 2200, []string{"Train Set", "Puzzle", "Spinning Top", "Kite", "Marble Run", "Dolls' House", "Building Blocks", "Rocking Horse"}},
	{"Outdoors", 4900, []string{"Tent", "Rucksack", "Camp Stove", "Flask", "Hammock", "Picnic Basket", "Compass", "Sleeping Mat"}},
	{"Bathroom", 2100, []string{"Soap Dish", "Mirror", "Towel Rail", "Bath Stool", "Toothbrush Cup", "Laundry Basket", "Bath Mat", "Comb"}},
	{"Music", 8900, []string{"Metronome", "Music Stand", "Ukulele", "Record Rack", "Tambourine", "Kalimba", "Xylophone", "Harmonica"}},
}

var finishes = [...]string{
	"Oak", "Walnut", "Copper", "Linen", "Marble", "Bamboo", "Brass", "Slate", "Ash", "Enamel",
	"Cedar", "Wool", "Steel", "Birch", "Terracotta", "Cork", "Rattan", "Glass", "Olive", "Indigo",
	"Ivory", "Amber", "Coral", "Graphite", "Moss", "Saffron", "Cobalt", "Plum", "Sand", "Scarlet",
	"Teal", "Charcoal", "Maple", "Jade", "Pearl", "Rust", "Willow", "Beech", "Silver", "Clay",
}

// productName names the i-th product, from 0: its category's index and a name
// that no other product has.
func productName(i int) (category int, name string) {
	category = i % len(catalogue)
	i /= len(catalogue)
	nouns := catalogue[category].nouns
	noun := nouns[i%len(nouns)]
	i /= len(nouns)
	finish := finishes[i%len(finishes)]
	if series := i/len(finishes) + 1; series > 1 {
		return category, fmt.Sprintf("%s %s No. %d", finish, noun, series)
	}
	return category, finish + " " + noun
}

// demoUser is someone who can log in. Their passwords are on the login page.
type demoUser struct {
	ID                          int64
	Login, Name, Role, Password string
}

var demoUsers = []demoUser{
	{42, "ada", "Ada Lovelace", roleCustomer, "analytical-engine"},
	{43, "grace", "Grace Hopper", roleCustomer, "nanoseconds"},
	{1, "admin", "The shopkeeper", roleAdmin, "open-sesame"},
}
